"""An app whose worker has more to say of itself than fits into 64 KiB."""

from headwater import Headwater

app = Headwater("many")


async def nothing() -> None:
    pass


for number in range(1500):
    app.workflow(name=f"a_workflow_whose_name_is_rather_a_long_one_{number}")(nothing)
