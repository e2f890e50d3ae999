//! What Redis does in one step. A window is named by its number: its start divided by 10 s.

use std::sync::LazyLock;

use redis::Script;

/// What both reading scripts say of a server's series: their version, and their text unless the reader has that version;
/// nothing when they are not there or nobody vouches for them.
const SERIES: &str = r"
local function series(key, lease, known, exact)
    local epoch, version = string.match(redis.call('GETRANGE', key, 0, 63), '^(%x+) (%x+)\n')
    if not epoch then return false end
    if exact and redis.call('EXISTS', lease .. epoch) == 0 then return false end
    if version == known then return {version, false} end
    local text = redis.call('GET', key)
    return {version, string.sub(text, string.find(text, '\n', 1, true) + 1)}
end
";

/// KEYS: recent, series. ARGV: what a lease's key begins with, first window, end, version of the series that the reader has,
/// 1 = exact. Answers newest, the windows and the series, or nothing.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| {
    let read = r"
local head = redis.call('HMGET', KEYS[1], 'epoch', 'from', 'newest')
if not head[1] or not head[2] or not head[3] then return false end
local exact = ARGV[5] == '1'
if exact and redis.call('EXISTS', ARGV[1] .. head[1]) == 0 then return false end
local first, last = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1
if tonumber(head[2]) > first then return false end
last = math.min(last, tonumber(head[3]))
local found = {}
for number = first, last do
    local blob = redis.call('HGET', KEYS[1], 'w' .. number)
    if blob then found[#found + 1] = {number, blob} end
end
return {tonumber(head[3]), found, series(KEYS[2], ARGV[1], ARGV[4], exact)}
";
    Script::new(&format!("{SERIES}{read}"))
});

/// KEYS: series. ARGV: what a lease's key begins with, version that the reader has, 1 = exact.
pub(super) static READ_SERIES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!("{SERIES}return series(KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1')"))
});

/// KEYS: recent, series. ARGV: epoch, window, blob, windows kept, milliseconds to live, the window this writer appended
/// last (-1 = none). For a window newer than all that PostgreSQL had of the server when it was committed. What is there is
/// gone on with only if it is what this writer left. Where another writer is further already, nothing is known any more:
/// that one may lack this window. Answers whether the series are there.
pub(super) const APPEND: &str = r"
local head = redis.call('HMGET', KEYS[1], 'epoch', 'from', 'low', 'newest')
local number = tonumber(ARGV[2])
local from, low = tonumber(head[2] or number), tonumber(head[3] or number)
if head[1] and head[1] ~= ARGV[1] and tonumber(head[4] or -1) > number then
    redis.call('DEL', KEYS[1])
    return redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
if head[1] ~= ARGV[1] or not head[2] or not head[3] or head[4] ~= ARGV[6] then
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
return redis.call('PEXPIRE', KEYS[2], ARGV[5])
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

/// KEYS: recent. ARGV: window. For a window whose rows changed or came late: what is kept from before it is exact no
/// more.
pub(super) const FORGET: &str = r"
local from = redis.call('HGET', KEYS[1], 'from')
if from and tonumber(from) <= tonumber(ARGV[1]) then redis.call('DEL', KEYS[1]) end
return 1
";
