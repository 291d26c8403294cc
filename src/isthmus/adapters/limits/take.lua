-- Grants units of shared counters, and takes back what processes did not use: one call a batch.
--
-- KEYS: the counters. ARGV: the time in ms (0: the server's own), who asks, then numbers:
--   how many updates; for each: key, kind, span, a, b, c
--     window: units `b` of slot `a` were not used; `c` units were used beyond what was granted
--     slots:  the caller holds `b` of them, and no longer than `span` ms unless it says so again
--   how many asks; for each: how many claims; for each claim: key, kind, span, amount, units,
--     spare units that the caller would like to have as well, how long it keeps them, shadow (1)
-- An ask is granted whole or not at all; a shadow claim is always granted.
-- Answer: for each ask 1 or 0, then for each claim: spare units granted, slot, units that are left,
--   ms until the counter is whole again, ms until the claim fits.
--
-- A window is a hash: slot of time -> "units:last", `last` being the ms at which the youngest of
-- them may be spent. Units count until they are a window old. Slots in use are a hash: who -> the
-- same, `last` being when the holder is taken for dead.

local WINDOW, GRAINS, SHARE, RETRY_MS = 0, 60, 16, 1000

local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local who, at = ARGV[2], 2
local books, answer = {}, {}

local function number()
  at = at + 1
  return tonumber(ARGV[at])
end

local function text(value)
  return string.format('%.0f', value)
end

local function open(key, kind, span)
  local book = books[key]
  if book then return book end
  book = {kind = kind, span = span, used = 0, youngest = 0, entries = {}, changed = {}}
  local raw = redis.call('HGETALL', key)
  for i = 1, #raw, 2 do
    local units, last = string.match(raw[i + 1], '^(%d+):(%d+)$')
    units, last = tonumber(units), tonumber(last)
    if last > now + span then
      -- The clock was set back since: what is there counts from now on.
      last = kind == WINDOW and now or now + span
      book.changed[raw[i]] = true
    end
    local old = last
    if kind == WINDOW then old = last + span end
    if old <= now then
      redis.call('HDEL', key, raw[i])
    else
      book.entries[raw[i]] = {units, last}
      book.used = book.used + units
      book.youngest = math.max(book.youngest, last)
    end
  end
  books[key] = book
  return book
end

-- What changes is written once, at the end.
local function put(book, field, units, last)
  local entry = book.entries[field] or {0, 0}
  book.used = book.used + units - entry[1]
  book.changed[field], book.sorted = true, nil
  if units <= 0 then
    book.entries[field] = nil
    return
  end
  last = math.max(last, entry[2])
  book.entries[field] = {units, last}
  book.youngest = math.max(book.youngest, last)
end

local function write(key, book)
  local any = false
  for field in pairs(book.changed) do
    local entry = book.entries[field]
    if entry then
      redis.call('HSET', key, field, text(entry[1]) .. ':' .. text(entry[2]))
      any = true
    else
      redis.call('HDEL', key, field)
    end
  end
  if any then
    local left = book.youngest - now
    if book.kind == WINDOW then left = left + book.span end
    redis.call('PEXPIRE', key, math.max(1, math.ceil(left)))
  end
end

local function slot_of(book)
  return text(math.floor(now / math.max(1, math.floor(book.span / GRAINS))))
end

local function count(book, units, kept_ms)
  local field = who
  local last = now + book.span
  if book.kind == WINDOW then
    field, last = slot_of(book), now + kept_ms
  end
  local entry = book.entries[field]
  put(book, field, units + (entry and entry[1] or 0), last)
  return field
end

local function whole_ms(book)
  if book.kind ~= WINDOW then return RETRY_MS end
  return book.used <= 0 and 0 or book.youngest + book.span - now
end

local function wait_ms(book, amount, units)
  if book.kind ~= WINDOW then return RETRY_MS end
  if units > amount then return book.span end
  if not book.sorted then
    book.sorted = {}
    for _, entry in pairs(book.entries) do book.sorted[#book.sorted + 1] = entry end
    table.sort(book.sorted, function(a, b) return a[2] < b[2] end)
  end
  local missing = units - (amount - book.used)
  for _, entry in ipairs(book.sorted) do
    missing = missing - entry[1]
    if missing <= 0 then return entry[2] + book.span - now end
  end
  return book.span
end

local function update()
  local key, kind, span, slot, units, owed = number(), number(), number(), number(), number(), number()
  local book = open(KEYS[key], kind, span)
  if kind ~= WINDOW then
    put(book, who, units, now + span)
    return
  end
  local entry = book.entries[text(slot)]
  if entry and units > 0 then put(book, text(slot), math.max(0, entry[1] - units), entry[2]) end
  if owed > 0 then count(book, owed, 0) end
end

local function claim()
  local key, kind, span = number(), number(), number()
  local one = {amount = number(), units = number(), spare = number(), kept = number(), shadow = number()}
  one.book = open(KEYS[key], kind, span)
  one.fits = one.book.used + one.units <= one.amount
  return one
end

local function ask()
  local claims, granted = {}, true
  for i = 1, number() do
    claims[i] = claim()
    granted = granted and (claims[i].fits or claims[i].shadow == 1)
  end
  answer[#answer + 1] = granted and 1 or 0
  for _, one in ipairs(claims) do
    local book, spare, slot = one.book, 0, 0
    local wait = one.fits and 0 or wait_ms(book, one.amount, one.units)
    if granted then
      local free = one.amount - book.used - one.units
      spare = math.max(0, math.min(one.spare, math.floor(free / SHARE)))
      local field = count(book, one.units + spare, spare > 0 and one.kept or 0)
      slot = book.kind == WINDOW and tonumber(field) or 0
    end
    local made = {spare, slot, one.amount - book.used, whole_ms(book), wait}
    for i = 1, #made do answer[#answer + 1] = made[i] end
  end
end

for _ = 1, number() do update() end
for _ = 1, number() do ask() end
for key, book in pairs(books) do write(key, book) end
return answer
