#!lua flags=allow-oom
-- draft: append to the draft of a reply that is still arriving, and publish the frame.
--
-- KEYS 1 meta  2 draft  3 epoch
-- ARGV 1 token  2 n before  3 n after  4 text  5 channel  6 frame
--      7 version at which the draft began: a late frame is not of the next reply
-- Returns "appended" | "repeated" | "fenced" | "conflict"
local meta = redis.call("HMGET", KEYS[1], "token", "n", "drafted")
if (redis.call("HGET", KEYS[3], "n") or "") .. "." .. (meta[1] or "") ~= ARGV[1] then return "fenced" end
if meta[3] ~= ARGV[7] then return "conflict" end
if meta[2] ~= ARGV[2] then
  return meta[2] == ARGV[3] and "repeated" or "conflict"
end
redis.call("APPEND", KEYS[2], ARGV[4])
redis.call("HSET", KEYS[1], "n", ARGV[3])
redis.call("PUBLISH", ARGV[5], ARGV[6])
return "appended"
