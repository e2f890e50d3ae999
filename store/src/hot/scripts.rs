//! What Redis does in one step. A window is named by its number: its start divided by 10 s.
//!
//! A lease vouches for what its writer left: by server the newest window (`-`: for none), by `s` and server the version of the series.
//! What says something else was put there by another hand.

use std::sync::LazyLock;

use redis::Script;

/// What both reading scripts say of a server's series: their version, and their text unless the reader has that version;
/// nothing when they are not there or nobody vouches for this version.
const SERIES: &str = r"
local function series(key, lease, id, known, exact)
    local epoch, version = string.match(redis.call('GETRANGE', key, 0, 63), '^(%x+) (%x+)\n')
    if not epoch then return false end
    if exact and redis.call('HGET', lease .. epoch, 's' .. id) ~= version then return false end
    if version == known then return {version, false} end
    local text = redis.call('GET', key)
    return {version, string.sub(text, string.find(text, '\n', 1, true) + 1)}
end
";

/// KEYS: recent, series. ARGV: what a lease's key begins with, first window, end, version of the series that the reader has,
/// 1 = exact, server. Answers newest, the windows and the series, or nothing.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| {
    let read = r"
local head = redis.call('HMGET', KEYS[1], 'epoch', 'from', 'newest')
if not head[1] or not head[2] or not head[3] then return false end
local exact = ARGV[5] == '1'
if exact and redis.call('HGET', ARGV[1] .. head[1], ARGV[6]) ~= head[3] then return false end
local first, last = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1
if tonumber(head[2]) > first then return false end
last = math.min(last, tonumber(head[3]))
local found = {}
for number = first, last do
    local blob = redis.call('HGET', KEYS[1], 'w' .. number)
    if blob then found[#found + 1] = {number, blob} end
end
return {tonumber(head[3]), found, series(KEYS[2], ARGV[1], ARGV[6], ARGV[4], exact)}
";
    Script::new(&format!("{SERIES}{read}"))
});

/// KEYS: series. ARGV: what a lease's key begins with, version that the reader has, 1 = exact, server.
pub(super) static READ_SERIES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!("{SERIES}return series(KEYS[1], ARGV[1], ARGV[4], ARGV[2], ARGV[3] == '1')"))
});

/// KEYS: lease. ARGV: milliseconds to live, number of the writer's word before, number of this one. One that does not know the word
/// before is not what this writer left. In one step: a lease that does not run out would vouch for ever; nothing else makes one.
pub(super) const LEASE: &str = r"
if redis.call('HGET', KEYS[1], 'word') ~= ARGV[2] then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'word', ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
";

/// KEYS: series, lease. ARGV: text, milliseconds to live, server, version.
pub(super) const SET_SERIES: &str = r"
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 's' .. ARGV[3], ARGV[4]) end
return 1
";

/// KEYS: recent, series, lease. ARGV: epoch, window, blob, windows kept, milliseconds to live, the window this writer appended
/// last (-1 = none), server. For a window newer than all that PostgreSQL had of the server when it was committed. What is there is
/// gone on with only if it is what this writer left. Where another writer is further already, nothing is known any more:
/// that one may lack this window. Answers whether the series are there and vouched for.
pub(super) const APPEND: &str = r"
local head = redis.call('HMGET', KEYS[1], 'epoch', 'from', 'low', 'newest')
local number = tonumber(ARGV[2])
local from, low = tonumber(head[2] or number), tonumber(head[3] or number)
local there = redis.call('PEXPIRE', KEYS[2], ARGV[5]) * redis.call('HEXISTS', KEYS[3], 's' .. ARGV[7])
local function vouch(what)
    if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], ARGV[7], what) end
end
if head[1] and head[1] ~= ARGV[1] and tonumber(head[4] or -1) > number then
    redis.call('DEL', KEYS[1])
    vouch('-')
    return there
end
local vouched = redis.call('HGET', KEYS[3], ARGV[7])
if head[1] ~= ARGV[1] or not head[2] or not head[3] or head[4] ~= ARGV[6] or vouched == '-' then
    redis.call('DEL', KEYS[1])
    from, low = number, number
end
local keep = number - tonumber(ARGV[4]) + 1
for old = low, math.min(keep, low + 1000) - 1 do
    redis.call('HDEL', KEYS[1], 'w' .. old)
    low = old + 1
end
if from < keep then from = keep end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'from', from, 'low', low, 'newest', number, 'w' .. number, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
vouch(number)
return there
";

/// KEYS: servers. ARGV: id, text. What is not there is not added: a list of one would be taken for all there are.
pub(super) static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
",
    )
});

/// KEYS: recent, lease. ARGV: window, server. For a window whose rows changed or came late: what is kept from before it is exact
/// no more, whoever brings it back.
pub(super) const FORGET: &str = r"
local from = redis.call('HGET', KEYS[1], 'from')
if from and tonumber(from) <= tonumber(ARGV[1]) then
    redis.call('DEL', KEYS[1])
    if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], ARGV[2], '-') end
end
return 1
";
