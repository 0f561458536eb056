-- Forget the world before this one.
TRUNCATE headwater.tenants, headwater.events, headwater.keys, headwater.fences, headwater.due, headwater.ready,
    headwater.entries, headwater.workers, headwater.projections, headwater.states,
    headwater.blobs, headwater.snapshots, headwater.staged, headwater.voided, headwater.commits RESTART IDENTITY;
