#!lua flags=no-writes
-- collect: the mail of a context that no commit has acknowledged, for the context's owner.
--
-- KEYS 1 meta  2 mail  3 epoch
-- ARGV 1 token
-- Returns {{id, {"m", mail}}...}, oldest first | "fenced"
local number = redis.call("HGET", KEYS[1], "token") or ""
if (redis.call("HGET", KEYS[3], "n") or "") .. "." .. number ~= ARGV[1] then return "fenced" end
return redis.call("XRANGE", KEYS[2], "-", "+")
