#!lua
-- announce: tell what a process has to tell, once.
--
-- KEYS 1 announcements  2 number of the process's last batch
-- ARGV 1 number of this batch  2 how long that is kept (s)  3 announcements kept  then announcements
-- Returns "told", also if it was told before
--- include announcements
if tonumber(redis.call("GET", KEYS[2]) or 0) >= tonumber(ARGV[1]) then return "told" end
redis.call("SET", KEYS[2], ARGV[1], "EX", ARGV[2])
announce(KEYS[1], ARGV[3], {unpack(ARGV, 4)})
return "told"
