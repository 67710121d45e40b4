#!lua flags=allow-oom
-- open: the epoch of the store, a new one if it may have lost commits since it was opened.
--
-- KEYS 1 epoch
-- ARGV 1 run id of the server, or empty where it was restored  2 durability: strict or standard  3 now (ms)
--      4 1: it may lack what was answered: it was a replica once, or was restored from a copy
-- Returns the epoch
local before = redis.call("HMGET", KEYS[1], "n", "run_id", "durability")
local n = tonumber(before[1] or ARGV[3])
local kept = before[3] == "strict" and ARGV[2] == "strict" and ARGV[4] ~= "1"
if before[1] and before[2] ~= ARGV[1] and not kept then
  -- Not n + 1: what was lost may include an earlier epoch that was handed out.
  n = math.max(n + 1, tonumber(ARGV[3]))
end
redis.call("HSET", KEYS[1], "n", n, "run_id", ARGV[1], "durability", ARGV[2])
return n
