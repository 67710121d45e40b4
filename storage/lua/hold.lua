#!lua flags=allow-oom
-- hold: keep a key that somebody has taken for a while, as long as it is his.
--
-- KEYS 1 the key
-- ARGV 1 what he has written there  2 how long it is to live from now on (s); 0: it is given up
-- Returns 1: done | 0: it is not his, or not any more
if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("EXPIRE", KEYS[1], ARGV[2])
