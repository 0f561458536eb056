-- What the Redis store does, each call one script and so one transaction. KEYS[1] is the hash of a projection's
-- generations; the others of a generation are named after it: `order`, `state`, `parked`, `again`.
-- The first argument says what to do. Times are milliseconds: these numbers keep fourteen digits.
local gens, what = KEYS[1], ARGV[1]
local base = string.sub(gens, 1, -string.len('generations') - 1)
local kinds = {'order', 'state', 'parked', 'again'}

local function read(generation)
    local text = redis.call('HGET', gens, generation)
    return text and cjson.decode(text)
end
local function write(at)
    redis.call('HSET', gens, at.generation, cjson.encode(at))
    return cjson.encode(at)
end
local function live()
    for _, text in ipairs(redis.call('HVALS', gens)) do
        local at = cjson.decode(text)
        if at.live then return at end
    end
end
local function forget(generation)
    redis.call('HDEL', gens, generation)
    for _, kind in ipairs(kinds) do redis.call('DEL', base .. kind .. ':' .. generation) end
end

if what == 'create' then
    local generation, version, is_live = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
    if read(generation) or (is_live and live()) then return false end
    return write({generation = tonumber(generation), version = version, live = is_live, paused = false,
                  position = 0, epoch = 0, holder = '', ['until'] = 0})
elseif what == 'take' then
    local at, time = read(ARGV[2]), redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    if not at or (at.holder ~= ARGV[3] and at['until'] > now) then return false end
    if at.holder ~= ARGV[3] then at.epoch = at.epoch + 1 end
    at.holder, at['until'] = ARGV[3], now + tonumber(ARGV[4])
    return write(at)
elseif what == 'release' then
    local at = read(ARGV[2])
    if not at or at.holder ~= ARGV[3] then return false end
    at['until'] = 0
    return write(at)
elseif what == 'pause' then
    local at = live()
    if not at then return false end
    at.paused, at.epoch = ARGV[2] == '1', at.epoch + 1
    return write(at)
elseif what == 'swap' then
    local at, before = read(ARGV[2]), live()
    if not at or at.epoch ~= tonumber(ARGV[3]) or at.position ~= tonumber(ARGV[4]) then return false end
    if before and before.position > at.position then return false end
    for _, generation in ipairs(redis.call('HKEYS', gens)) do
        if generation ~= ARGV[2] then forget(generation) end
    end
    at.live, at.paused, at.epoch, at['until'] = true, before ~= nil and before.paused, at.epoch + 1, 0
    return write(at)
elseif what == 'drop' then
    local at = read(ARGV[2])
    if at and not at.live then forget(ARGV[2]) end
    return false
elseif what == 'save' then
    local at = read(ARGV[2])
    if not at or at.epoch ~= tonumber(ARGV[3]) or at.position ~= tonumber(ARGV[4]) then return false end
    local suffix = ':' .. ARGV[2]
    for i = 6, #ARGV, 4 do
        local member = ARGV[i]
        redis.call('ZADD', base .. 'order' .. suffix, 0, member)
        redis.call('HSET', base .. 'state' .. suffix, member, ARGV[i + 1])
        for number, kind in ipairs({'parked', 'again'}) do
            local value = ARGV[i + 1 + number]
            if value == '0' then
                redis.call('HDEL', base .. kind .. suffix, member)
            else
                redis.call('HSET', base .. kind .. suffix, member, value)
            end
        end
    end
    at.position = tonumber(ARGV[5])
    return write(at)
elseif what == 'request' then
    local at, again, from, to = live(), ARGV[2], ARGV[3], ARGV[4]
    if not at then return 0 end
    local suffix, asked = ':' .. at.generation, 0
    for _, member in ipairs(redis.call('ZRANGEBYLEX', base .. 'order' .. suffix, from, to)) do
        if again == '2' or redis.call('HEXISTS', base .. 'parked' .. suffix, member) == 1 then
            redis.call('HSET', base .. 'again' .. suffix, member, again)
            asked = asked + 1
        end
    end
    at.epoch = at.epoch + 1
    write(at)
    return asked
end
