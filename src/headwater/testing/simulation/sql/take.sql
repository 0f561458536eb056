-- Make the database the simulator's: its time is virtual from now on, and that marks it as one that may be emptied.
-- A sequence, because it is seen at once by every transaction.
CREATE SEQUENCE headwater.simulated_now;
GRANT SELECT ON headwater.simulated_now TO headwater_worker, headwater_server, headwater_tail;
CREATE OR REPLACE FUNCTION headwater.now_us() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN (SELECT last_value FROM headwater.simulated_now);
