#!lua
-- fill: a piece of the log of a context that is yet to be created, where the log is long.
--
-- Nobody sees the log before `create` has taken it over. Until then it is kept only for a while
-- after its last piece, so that whoever dies in between leaves nothing.
--
-- KEYS 1 meta  2 log
-- ARGV 1 version before the first piece  2 version before this one  3 how long the next may take (s)
--      then events
-- Returns "filled" | "lost": of what was before it nothing, or not all, is there any more
if redis.call("EXISTS", KEYS[1]) == 1 then return "filled" end
local last = redis.call("XREVRANGE", KEYS[2], "+", "-", "COUNT", 1)[1]
local version = tonumber(last and string.match(last[1], "^%d+") or ARGV[1])
local before = tonumber(ARGV[2])
if version < before then return "lost" end
if version > before then return "filled" end
for i = 4, #ARGV do redis.call("XADD", KEYS[2], string.format("%d-0", before + i - 3), "e", ARGV[i]) end
redis.call("EXPIRE", KEYS[2], ARGV[3])
return "filled"
