-- The store that processes share, in Redis (6 or later): one statement in, one answer out. `_store.py`, `_division.py`
-- and `_shares.py` are the same step by step, with the reasons; a test compares the two.
--
-- KEYS: meta (a string), limits, pools, nodes, leases, lanes, members, balances, groups (hashes). All have one hash tag, so
-- that they are on one node of a cluster. ARGV: the statement (MessagePack); in tests also the time in milliseconds and
-- the server's run.
-- Rows are MessagePack, as numbers have to stay exact:
--   pool   {held, level, at, grants}               node   {claims, tag, time, held by pool, {lanes, below} by pool}
--   lane   {member, path, number, runs, aside, aside_at, pool, rest}
--   balance {lead, at, level, share, weight, claim, step, is_served}
--   group  {weight, rate, level, at, since, largest, granted}
--   member {number, expires, configured, using, pending}
--   lease  a number                                run, held  {tenant or items, ...} as in the statement

local call, pack, unpack_row = redis.call, cmsgpack.pack, cmsgpack.unpack
local huge, max, min = math.huge, math.max, math.min
local ROUNDING, LITTLE, AWAY, MAX_NODES, MAX_TENANTS, CHUNK = 1e-9, 0.1, 1000, 4096, 1000, 500

-- rows of a hash: read once, written at the end

local function rows(key)
  local cache, dirty, absent, own = {}, {}, {}, {}

  function own.get(name)
    local row = cache[name]
    if row == nil then
      local text = call('HGET', key, name)
      row = text and unpack_row(text) or false
      absent[name] = not text
      cache[name] = row
    end
    return row or nil
  end

  function own.fetch(names)
    local missing = {}
    for _, name in ipairs(names) do
      if cache[name] == nil then
        cache[name] = false
        missing[#missing + 1] = name
      end
    end
    for first = 1, #missing, CHUNK do
      local last = min(first + CHUNK - 1, #missing)
      local found = call('HMGET', key, unpack(missing, first, last))
      for index = first, last do
        local text = found[index - first + 1]
        cache[missing[index]] = text and unpack_row(text) or false
        absent[missing[index]] = not text
      end
    end
  end

  function own.put(name, row)
    cache[name] = row
    dirty[name] = true
  end

  function own.drop(name)
    cache[name] = false
    dirty[name] = not absent[name] or nil
  end

  function own.all()
    local found, pairs_of = {}, call('HGETALL', key)
    for index = 1, #pairs_of, 2 do
      local name = pairs_of[index]
      if cache[name] == nil then cache[name] = unpack_row(pairs_of[index + 1]) end
    end
    for name, row in pairs(cache) do
      if row then found[name] = row end
    end
    return found
  end

  function own.size() return call('HLEN', key) end

  function own.clear()
    call('DEL', key)
    cache, dirty, absent = {}, {}, {}
  end

  function own.flush()
    local set, del = {}, {}
    for name in pairs(dirty) do
      local row = cache[name]
      if row then
        set[#set + 1] = name
        set[#set + 1] = pack(row)
      else
        del[#del + 1] = name
      end
    end
    for first = 1, #set, 2 * CHUNK do call('HSET', key, unpack(set, first, min(first + 2 * CHUNK - 1, #set))) end
    for first = 1, #del, CHUNK do call('HDEL', key, unpack(del, first, min(first + CHUNK - 1, #del))) end
  end

  return own
end

local limits, pools, nodes = rows(KEYS[2]), rows(KEYS[3]), rows(KEYS[4])
local leases, lanes, members = rows(KEYS[5]), rows(KEYS[6]), rows(KEYS[7])
local balances, groups = rows(KEYS[8]), rows(KEYS[9])
local tables = {limits, pools, nodes, leases, lanes, members, balances, groups}
local meta, freed, woken

local UNLIMITED = {-1, -1, 0, false}

local caps_cache = {}

local function caps_of(pool)
  local caps = caps_cache[pool]
  if not caps then
    caps = limits.get('pool:' .. pool) or UNLIMITED
    caps_cache[pool] = caps
  end
  return caps
end

local kept -- by pool and tenant, tokens that only the tenant may hold; nil if there are none

local function kept_of(pool)
  if kept == nil then
    local row = meta.is_kept and limits.get('kept')
    kept = row or false
  end
  return kept and kept[pool]
end

local OF = '%20of%20' -- between the pool and the tenant whose limit of it this is

local function owner_of(title)
  local first, last = string.find(title, OF, 1, true)
  if not first then return title, '' end
  return string.sub(title, 1, first - 1), (string.gsub(string.sub(title, last + 1), '%%2F', '/'))
end

local weights

local function weight_of(name)
  weights = weights or limits.get('weights') or {}
  return weights[name] or 1
end

local function key_of(member, path, items)
  if items then return member .. '\n' .. path .. '\n' .. items end
  return member .. '\n' .. path
end

local items_cache = {}

local function items_of(text)
  local found = items_cache[text]
  if not found then
    found = {}
    for pool, amount in string.gmatch(text, '([^,=]+)=(%d+)') do found[#found + 1] = {pool, tonumber(amount)} end
    items_cache[text] = found
  end
  return found
end

local lineage_cache = {}

local function lineage(path)
  local names = lineage_cache[path]
  if not names then
    names = {}
    for part in string.gmatch(path, '[^/]+') do
      names[#names + 1] = #names > 0 and names[#names] .. '/' .. part or part
    end
    names[#names + 1] = path .. '/'
    lineage_cache[path] = names
  end
  return names
end

local function parent_of(name) return string.match(name, '^(.*)/[^/]*$') or '' end

-- leases

local function pool_row(name)
  local pool = pools.get(name)
  if not pool then
    pool = {0, 0, meta.t, 0}
    pools.put(name, pool)
  end
  return pool
end

local function node_row(name)
  local node = nodes.get(name)
  if not node then
    node = {0, 0, 0, {}, {}}
    nodes.put(name, node)
  end
  return node
end

-- what tenants keep, and do not use

local below, saved = {}, {} -- by pool and tenant: what those inside it keep; what is saved up for its claims

local function held_of(pool, name)
  local node = nodes.get(name)
  return node and node[4][pool] or 0
end

local function below_of(pool)
  local found = below[pool]
  if found then return found end
  local names, seen = {}, {}
  for keeper in pairs(kept_of(pool)) do
    local name = keeper
    while name ~= '' and not seen[name] do
      seen[name] = true
      names[#names + 1] = {name, select(2, string.gsub(name, '/', ''))}
      name = parent_of(name)
    end
  end
  table.sort(names, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  local all = {}
  for index, one in ipairs(names) do all[index] = one[1] end
  nodes.fetch(all)
  found = {}
  below[pool] = found
  for _, name in ipairs(all) do
    local held, up = held_of(pool, name), parent_of(name)
    found[up] = (found[up] or 0) + max(held + (found[name] or 0), kept_of(pool)[name] or 0) - held
  end
  return found
end

local function saved_of(pool, name) return saved[pool] and saved[pool][name] or 0 end

local function used_of(pool, name) return held_of(pool, name) + saved_of(pool, name) + (below_of(pool)[name] or 0) end

local function change_kept(pool, names, by)
  local found, passed = below_of(pool), 0
  for index = #names - 1, 1, -1 do
    local name = names[index]
    local keeps, before = kept_of(pool)[name] or 0, used_of(pool, name)
    found[name] = (found[name] or 0) + passed
    passed = max(before + by + passed, keeps) - max(before, keeps) - by
  end
  found[''] = (found[''] or 0) + passed
end

local function save_up_kept(pool, names, amount)
  change_kept(pool, names, amount)
  saved[pool] = saved[pool] or {}
  saved[pool][''] = (saved[pool][''] or 0) + amount
  for _, name in ipairs(names) do saved[pool][name] = (saved[pool][name] or 0) + amount end
end

local function spare_of(title, names)
  local pool, owner = owner_of(title)
  local spare, depth = 0, owner == '' and 0 or select(2, string.gsub(owner, '/', '')) + 1
  for index = depth + 1, #names - 1 do
    local keeps = kept_of(pool)[names[index]] or 0
    if keeps > 0 then spare = spare + max(0, keeps - used_of(pool, names[index])) end
  end
  return spare
end

local function unused_of(title)
  local pool, owner = owner_of(title)
  return kept_of(pool) and below_of(pool)[owner] or 0
end

local function left_beside_kept(title, names, capacity, held)
  local free = capacity - held - saved_of(owner_of(title)) - unused_of(title)
  return min(spare_of(title, names) + max(0, free), capacity - held)
end

local function is_kept(title) return meta.is_kept and kept_of((owner_of(title))) end

-- shares of tenants, now and over time

local stirred, stirred_names = {}, {}

local function stir(name, claim)
  if not stirred[name] then stirred_names[#stirred_names + 1] = name end
  stirred[name] = claim ~= 0 and claim or stirred[name] or 0
end

local function share_of(name)
  local most = 0
  for pool, amount in pairs(node_row(name)[4]) do
    local caps = caps_of(pool)
    if caps[4] and caps[1] >= 0 and amount > 0 then most = max(most, caps[1] > 0 and amount / caps[1] or huge) end
  end
  return most / weight_of(name)
end

local function claim_of(items)
  local most = 0
  for _, item in ipairs(items_of(items)) do
    local caps = caps_of(item[1])
    if caps[4] and caps[1] > 0 then most = max(most, item[2] / caps[1]) end
  end
  return most
end

local function balance_key(pool, name) return pool .. '\n' .. name end

local function waits_of(name, pool)
  local waits = node_row(name)[5][pool]
  if waits then return waits[1], waits[2] end
  return 0, 0
end

local function members_of(pool, parent)
  local node = nodes.get(parent)
  local waits = node and node[5][pool]
  return waits and waits[2] or 0
end

local function settled(balance, group, at, level)
  local passed = at - max(group[5], balance[2])
  local lead = balance[4] * passed - (level - balance[3])
  local most = group[6] / balance[5] * passed
  if lead < 0 or balance[8] then return balance[1] + (lead > most and most or max(lead, -most)) end
  return balance[1]
end

local function waiting_rows(pool, name)
  local parent = parent_of(name)
  if members_of(pool, parent) < 2 then return nil end
  local balance = balances.get(balance_key(pool, name))
  if not balance then return nil end
  return balance, groups.get(balance_key(pool, parent))
end

local function lead_of(balance, group)
  local level = group[3] + max(0, meta.t - group[4]) * group[2] / group[1]
  return settled(balance, group, max(meta.t, group[4]), level)
end

local function handicap_of(pool, name)
  local balance, group = waiting_rows(pool, name)
  if not balance or not group or lead_of(balance, group) <= ROUNDING * balance[7] then return 0 end
  return balance[7]
end

local function is_well_ahead(pool, name)
  local balance, group = waiting_rows(pool, name)
  if not balance or not group then return false end
  local pace = group[7] > 0 and group[3] * group[1] / group[7] or 0
  return lead_of(balance, group) > max(ROUNDING, LITTLE * pace) * balance[7]
end

local function advance(group, count)
  if meta.t > group[4] then
    if count > 1 then group[3] = group[3] + (meta.t - group[4]) * group[2] / group[1] end
    group[4] = meta.t
  end
end

local function weigh(name, balance, group, claim)
  local share, weight = share_of(name), weight_of(name)
  if share == huge then share = 0 end
  group[1] = group[1] + (weight - balance[5])
  group[2] = group[2] + (weight * share - balance[5] * balance[4])
  balance[4], balance[5], balance[6], balance[7] = share, weight, claim, claim / weight
  group[6] = max(group[6], claim)
end

local function enter_group(pool, name, count)
  local own, of_group = balance_key(pool, name), balance_key(pool, parent_of(name))
  local group = groups.get(of_group) or {0, 0, 0, meta.t, 0, 0, 0}
  advance(group, count - 1)
  if count == 2 then group[5] = group[4] end
  local balance = balances.get(own) or {0, group[4], 0, 0, 0, 0, 0, false}
  if group[4] - balance[2] > AWAY then
    balance[8] = false
    balance[1] = max(0, balance[1])
  end
  balance[4], balance[5] = 0, 0
  balance[2], balance[3] = group[4], group[3]
  weigh(name, balance, group, balance[6])
  balances.put(own, balance)
  groups.put(of_group, group)
end

local function leave_group(pool, name, count)
  local own, of_group = balance_key(pool, name), balance_key(pool, parent_of(name))
  local group, balance = groups.get(of_group), balances.get(own)
  advance(group, count)
  if count > 1 then balance[1] = settled(balance, group, group[4], group[3]) end
  balance[2], balance[3] = group[4], group[3]
  group[1] = group[1] - balance[5]
  group[2] = group[2] - balance[5] * balance[4]
  balances.put(own, balance)
  if count == 1 then groups.drop(of_group) else groups.put(of_group, group) end
end

local function wait(names, pool, by)
  local name = ''
  for index = 0, #names do
    local node = node_row(name)
    local count, below = waits_of(name, pool)
    local child, is_other = names[index + 1], false
    if child then is_other = (waits_of(child, pool)) == (by > 0 and 0 or 1) end
    node[5][pool] = {count + by, below + (is_other and by or 0)}
    if is_other and by > 0 then
      enter_group(pool, child, below + 1)
    elseif is_other then
      leave_group(pool, child, below)
    end
    if count + by == 0 then node[5][pool] = nil end
    nodes.put(name, node)
    name = child
  end
end

local function settle_stirred()
  local found = {}
  for _, name in ipairs(stirred_names) do
    local node, parent = nodes.get(name), parent_of(name)
    for pool in pairs(node and node[5] or {}) do
      local count = members_of(pool, parent)
      if count > 1 then
        local own, of_group = balance_key(pool, name), balance_key(pool, parent)
        local balance, group = balances.get(own), groups.get(of_group)
        advance(group, count)
        balance[1] = settled(balance, group, group[4], group[3])
        balance[2], balance[3] = group[4], group[3]
        balances.put(own, balance)
        groups.put(of_group, group)
        found[#found + 1] = {name, balance, group}
      end
    end
  end
  for _, one in ipairs(found) do
    local claim, balance, group = stirred[one[1]], one[2], one[3]
    if claim > 0 then
      balance[8] = true
      group[7] = group[7] + claim
    end
    weigh(one[1], balance, group, claim > 0 and claim or balance[6])
  end
end

local function drop_lane(key)
  local lane = lanes.get(key)
  lanes.drop(key)
  if lane[7] ~= '' then wait(lineage(lane[2]), lane[7], -1) end
end

local function charge(member, path, items, by)
  if by == 0 then return end
  local key = key_of(member, path, items)
  local count = (leases.get(key) or 0) + by
  if count == 0 then leases.drop(key) else leases.put(key, count) end
  freed = freed or by < 0
  local needed = items_of(items)
  for _, item in ipairs(needed) do
    if meta.is_kept and below[item[1]] then change_kept(item[1], lineage(path), by * item[2]) end
    local pool = pool_row(item[1])
    pool[1] = pool[1] + by * item[2]
    pools.put(item[1], pool)
  end
  for _, name in ipairs(lineage(path)) do
    local node = node_row(name)
    stir(name, 0)
    node[1] = node[1] + by
    for _, item in ipairs(needed) do
      local held = (node[4][item[1]] or 0) + by * item[2]
      node[4][item[1]] = held ~= 0 and held or nil
    end
    nodes.put(name, node)
  end
end

local function starts(text, prefix) return string.sub(text, 1, #prefix) == prefix end

local function by_number(keys)
  table.sort(keys, function(a, b) return lanes.get(a)[3] < lanes.get(b)[3] end)
  return keys
end

local function drop(member, kept)
  local prefix, keys = member .. '\n', {}
  for key, count in pairs(leases.all()) do
    if starts(key, prefix) then
      local path, items = string.match(key, '^[^\n]*\n([^\n]*)\n(.*)$')
      charge(member, path, items, -count)
    end
  end
  for key in pairs(lanes.all()) do
    if starts(key, prefix) and not kept[string.sub(key, #prefix + 1)] then keys[#keys + 1] = key end
  end
  for _, key in ipairs(by_number(keys)) do drop_lane(key) end
  freed = true
end

-- a statement

local function tick(at, server, ttl)
  if meta.server ~= server then
    meta.server = server
    meta.frozen_until = meta.t + ttl
    woken['*'] = true
  elseif at > meta.at then
    meta.t = meta.t + min(at - meta.at, ttl / 2)
  end
  meta.at = at
  local expired = {}
  for name, member in pairs(members.all()) do
    if member[2] <= meta.t then expired[#expired + 1] = name end
  end
  table.sort(expired)
  for _, name in ipairs(expired) do
    members.drop(name)
    drop(name, {})
  end
end

local function configure(rules, member)
  meta.generation, meta.digest, meta.owner = rules.generation, rules.digest, member
  meta.max_bypass = rules.max_bypass
  limits.clear()
  caps_cache = {}
  limits.put('source', {rules.source})
  for pool, caps in pairs(rules.pools) do limits.put('pool:' .. pool, caps) end
  limits.put('weights', rules.weights)
  weights = rules.weights
  meta.is_kept = type(rules.kept) == 'table' and next(rules.kept) ~= nil
  kept, below = nil, {}
  if meta.is_kept then limits.put('kept', rules.kept) end
  freed = true
  woken['*'] = true
end

local function agree(statement)
  if meta.digest ~= '' then
    if statement.generation == meta.generation and statement.digest == meta.digest then return true end
    if statement.generation < meta.generation then return true end
    if statement.generation == meta.generation then
      local configured = string.format('%.0f %s', meta.generation, meta.digest)
      for name, member in pairs(members.all()) do
        if name ~= statement.member and member[3] == configured then return true end
      end
    end
  end
  if type(statement.rules) ~= 'table' then return false end
  configure(statement.rules, statement.member)
  return true
end

local function without(runs, items, count)
  local left = {}
  for _, run in ipairs(runs) do
    local taken = run[1] == items and min(count, run[2]) or 0
    count = count - taken
    if run[2] > taken then left[#left + 1] = {run[1], run[2] - taken, run[3], run[4]} end
  end
  return left
end

local function queue(member, path, runs, rest)
  local key = key_of(member, path)
  for _, held in ipairs(members.get(member)[5]) do
    if held[1] == path then runs = without(runs, held[2], held[3]) end
  end
  local lane = lanes.get(key)
  if not lane then
    if #runs > 0 then
      meta.numbers = meta.numbers + 1
      lanes.put(key, {member, path, meta.numbers, runs, '', 0, '', rest})
    end
    return
  end
  local old, new = lane[4][1], runs[1]
  if not (old and new and old[1] == new[1] and old[4] == new[4]) then
    lane[5] = ''
    freed = freed or meta.first == key
  end
  lane[4], lane[8] = runs, rest
  if #runs > 0 then lanes.put(key, lane) else drop_lane(key) end
end

local function fetch_stated(statement)
  local of_nodes, of_leases, of_lanes = {}, {}, {}
  for _, held in ipairs(statement.held) do
    of_leases[#of_leases + 1] = key_of(statement.member, held[1], held[2])
    for _, name in ipairs(lineage(held[1])) do of_nodes[#of_nodes + 1] = name end
  end
  for _, waiting in ipairs(statement.waiting) do
    of_lanes[#of_lanes + 1] = key_of(statement.member, waiting[1])
  end
  nodes.fetch(of_nodes)
  leases.fetch(of_leases)
  lanes.fetch(of_lanes)
end

local function take_statement(statement, me)
  local name, pending = statement.member, {}
  fetch_stated(statement)
  local is_new = not me or statement.is_full
  if is_new then
    local kept = {}
    for _, waiting in ipairs(statement.waiting) do kept[waiting[1]] = true end
    drop(name, kept)
  else
    for _, held in ipairs(me[5]) do
      local key = key_of(name, held[1], held[2])
      pending[key] = (pending[key] or 0) + held[3]
    end
  end
  members.put(name, {
    statement.number,
    meta.t + statement.ttl,
    string.format('%.0f %s', statement.generation, statement.digest),
    statement.using,
    is_new and {} or me[5],
  })
  for _, held in ipairs(statement.held) do
    local key = key_of(name, held[1], held[2])
    charge(name, held[1], held[2], held[3] + (pending[key] or 0) - (leases.get(key) or 0))
  end
  for _, waiting in ipairs(statement.waiting) do queue(name, waiting[1], waiting[2], waiting[3]) end
  if statement.is_candidate and not members.get(meta.speaker) then
    meta.speaker = name
  elseif meta.speaker == name and not statement.is_candidate then
    meta.speaker = ''
  end
end

-- what is left in the pools

local function in_capacity(name, path)
  local capacity, held = caps_of(name)[1], pool_row(name)[1]
  if capacity < 0 then return huge end
  if is_kept(name) then return left_beside_kept(name, lineage(path), capacity, held) end
  return capacity - held
end

local function room_of(name, path)
  local caps, pool = caps_of(name), pool_row(name)
  local left = in_capacity(name, path)
  if caps[2] >= 0 then
    pool[2] = min(caps[3], pool[2] + max(0, meta.t - pool[3]) * caps[2] / 1000)
    pool[3] = meta.t
    pools.put(name, pool)
    left = min(left, pool[2] + ROUNDING)
  end
  return left
end

local function wait_of(name, amount, path)
  if room_of(name, path) >= amount then return 0 end
  local caps, pool = caps_of(name), pool_row(name)
  if caps[2] < 0 or amount > caps[3] or in_capacity(name, path) < amount then return huge end
  return max(0, amount - pool[2]) * 1000 / caps[2]
end

-- one pass: which claims are next

local function less(a, b)
  if a[1] ~= b[1] then return a[1] < b[1] end
  if a[2] ~= b[2] then return a[2] < b[2] end
  return a[3] < b[3]
end

local function sift_down(heap, at)
  local size, entry = #heap, heap[at]
  while true do
    local child = 2 * at
    if child > size then break end
    if child < size and less(heap[child + 1], heap[child]) then child = child + 1 end
    if not less(heap[child], entry) then break end
    heap[at] = heap[child]
    at = child
  end
  heap[at] = entry
end

local function heapify(heap)
  for at = math.floor(#heap / 2), 1, -1 do sift_down(heap, at) end
end

local function replace_first(heap, entry)
  heap[1] = entry
  sift_down(heap, 1)
end

local function pop_first(heap)
  local size = #heap
  heap[1] = heap[size]
  heap[size] = nil
  if size > 2 then sift_down(heap, 1) end
end

local reserved, blocked, wake_after, own_name, turns, of_first
local lacked, asides = {}, {} -- by lane, the pools that its first claim waits for; by pool, the lane set aside first
local left, lacking_of = {}, {} -- as of this pass: what is left for all but the first claim; what a kind of claim lacks

local function left_of(pool, path)
  if is_kept(pool) then return room_of(pool, path) end
  local found = left[pool]
  if not found then
    found = room_of(pool, path) - (reserved[pool] or 0)
    left[pool] = found
  end
  return found
end

local function lacks(items, path)
  local key = items
  if meta.is_kept then
    for _, item in ipairs(items_of(items)) do
      if is_kept(item[1]) then key = path .. '\n' .. items end
    end
  end
  local found = lacking_of[key]
  if found then return found end
  local lacking, wait, needed = {}, 0, items_of(items)
  for _, item in ipairs(needed) do
    if left_of(item[1], path) < item[2] then lacking[#lacking + 1] = item[1] end
  end
  if #lacking == 0 then return nil end
  for _, item in ipairs(needed) do wait = max(wait, wait_of(item[1], item[2] + (reserved[item[1]] or 0), path)) end
  found = {lacking, wait}
  lacking_of[key] = found
  return found
end

local function reserve(lane)
  reserved = {}
  for _, item in ipairs(items_of(lane[4][1][1])) do reserved[item[1]] = item[2] end
  if meta.is_kept then
    for pool, amount in pairs(reserved) do
      if kept_of(pool) then save_up_kept(pool, lineage(lane[2]), amount) end
    end
  end
end

local function agreed(key)
  local lane = lanes.get(key)
  if lane and members.get(lane[1])[4] == meta.digest then return lane end
  return nil
end

local function grant_one(lane, items)
  charge(lane[1], lane[2], items, 1)
  for _, item in ipairs(items_of(items)) do
    local pool = pool_row(item[1])
    pool[4] = pool[4] + 1
    if caps_of(item[1])[2] >= 0 then pool[2] = pool[2] - item[2] end
    if left[item[1]] then left[item[1]] = left[item[1]] - item[2] end
    pools.put(item[1], pool)
  end
  local claim = claim_of(items)
  for _, name in ipairs(lineage(lane[2])) do stir(name, claim) end
  local member = members.get(lane[1])
  local pending = member[5]
  local last = pending[#pending]
  if last and last[1] == lane[2] and last[2] == items then
    last[3] = last[3] + 1
  else
    pending[#pending + 1] = {lane[2], items, 1}
  end
  members.put(lane[1], member)
  woken[lane[1]] = true
end

local function take_run(key, lane, index)
  local run = lane[4][index]
  if run[2] > 1 then
    lane[4][index] = {run[1], run[2] - 1, run[3], run[4]}
  else
    table.remove(lane[4], index)
  end
  if index == 1 then lane[5] = '' end
  lanes.put(key, lane)
end

local function blocks(key, lane, lacking, wait)
  lacked[key] = lacking
  if lane[1] == own_name then blocked[lane[2]] = lacking[1] end
  wake_after = min(wake_after, wait)
end

local function set_aside(place, lacking)
  local lane = place.lane
  if lane[5] == '' and left_of(lacking, lane[2]) >= 1 then
    lane[5], lane[6] = lacking, pool_row(lacking)[4]
    lanes.put(place.key, lane)
  end
  if lane[5] == lacking then
    local first = asides[lacking]
    if not first or lane[6] < first[2][6] or (lane[6] == first[2][6] and lane[3] < first[2][3]) then
      asides[lacking] = {place.key, lane}
    end
  end
end

local function find(place)
  local lane = place.lane
  local runs = lane[4]
  while place.index <= #runs do
    local items, is_blocked = runs[place.index][1], false
    if next(place.blocked) then
      for _, item in ipairs(items_of(items)) do is_blocked = is_blocked or place.blocked[item[1]] end
    end
    if not is_blocked then
      local found = lacks(items, lane[2])
      if not found then return true end
      local lacking = found[1]
      for _, pool in ipairs(lacking) do place.blocked[pool] = true end
      if not place.is_first_seen then
        set_aside(place, lacking[1])
        blocks(place.key, lane, lacking, found[2])
      end
    end
    place.is_first_seen = true
    place.index = place.index + 1
  end
  return false
end

local function order(place)
  local run = place.lane[4][place.index]
  return {-run[3], run[4], place.lane[3], place}
end

local function entry(turn) return {share_of(turn.name) + turn.handicap, turn.tag, turn.number, turn} end

local function after(name, items, pool)
  local weight = weight_of(name)
  local share = share_of(name) + claim_of(items) / weight
  if share > 0 then return share, 0 end
  local tag, amount = turns[name] and turns[name].tag, 0
  tag = tag or max(node_row(name)[2], node_row(parent_of(name))[3])
  for _, item in ipairs(items_of(items)) do
    if item[1] == pool then amount = item[2] end
  end
  return 0, tag + amount / weight
end

local function owes(lane, items, late, pool)
  local of_late = late[4][1][1]
  for _, item in ipairs(items_of(of_late)) do
    if item[1] ~= pool and room_of(item[1], late[2]) < item[2] then return false end
  end
  local own, other = lineage(lane[2]), lineage(late[2])
  for index = 1, min(#own, #other) do
    local mine, its = own[index], other[index]
    if mine ~= its then
      local ahead, its_ahead = handicap_of(pool, mine), handicap_of(pool, its)
      if share_of(its) + its_ahead > share_of(mine) + ahead then return false end
      if is_well_ahead(pool, mine) ~= (its_ahead > 0) then return its_ahead == 0 end
      local share, tag = after(mine, items, pool)
      local its_share, its_tag = after(its, of_late, pool)
      if share ~= its_share then return share > its_share end
      return tag > its_tag
    end
  end
  return false
end

local function save_up_for_owed(place, items)
  if meta.first ~= '' or not next(asides) then return false end
  for _, item in ipairs(items_of(items)) do
    local found = asides[item[1]]
    if found and is_kept(item[1]) and spare_of(item[1], lineage(place.lane[2])) >= item[2] then found = nil end
    if found and owes(place.lane, items, found[2], item[1]) then
      meta.first = found[1]
      left, lacking_of = {}, {}
      reserve(found[2])
      return true
    end
  end
  return false
end

local function serve_overtaken(some)
  while true do
    if meta.first == '' then
      local best
      for key, lane in pairs(some) do
        if lane[5] ~= '' and #lane[4] > 0 and pool_row(lane[5])[4] - lane[6] >= meta.max_bypass then
          local late = {lane[4][1][4], lane[3], 0, key}
          if not best or less(late, best) then best = late end
        end
      end
      if not best then return end
      meta.first = best[4]
    end
    local first = agreed(meta.first)
    if not first or #first[4] == 0 or first[5] == '' then
      meta.first = ''
    else
      local items, wait, lacking = first[4][1][1], 0, nil
      for _, item in ipairs(items_of(items)) do
        if not lacking and room_of(item[1], first[2]) < item[2] then lacking = item[1] end
      end
      if lacking then
        for _, item in ipairs(items_of(items)) do wait = max(wait, wait_of(item[1], item[2], first[2])) end
        of_first = {lacking, wait}
        reserve(first)
        return
      end
      local key = meta.first
      meta.first = ''
      grant_one(first, items)
      take_run(key, first, 1)
    end
  end
end

local function turn_of(name, up, pool)
  return {name = name, node = node_row(name), up = up, number = 0, tag = 0, below = {}, heap = {}, places = {},
    weight = weight_of(name), handicap = pool and pool ~= '' and handicap_of(pool, name) or 0}
end

local function enter(root, key, lane)
  local place = {key = key, lane = lane, index = 1, blocked = {}, is_first_seen = false}
  if key == meta.first then
    place.index, place.is_first_seen = 2, true
    for pool in pairs(reserved) do place.blocked[pool] = true end
    blocks(key, lane, {of_first[1]}, of_first[2])
  end
  if not find(place) then return end
  local up = root
  for _, name in ipairs(lineage(lane[2])) do
    local turn = turns[name]
    if not turn then
      turn = turn_of(name, up, lane[7])
      turn.number = lane[3]
      turns[name] = turn
      up.below[#up.below + 1] = turn
    end
    turn.number = min(turn.number, lane[3])
    up = turn
  end
  up.places[#up.places + 1] = order(place)
end

local function drop_turn(turn)
  while turn.up do
    pop_first(turn.up.heap)
    if #turn.up.heap > 0 then return end
    turn = turn.up
  end
end

local function served(turn, cost)
  while turn.up do
    local up = turn.up
    up.node[3] = max(up.node[3], turn.tag)
    turn.tag = turn.tag + cost / turn.weight
    turn.node[2] = turn.tag
    nodes.put(turn.name, turn.node)
    nodes.put(up.name, up.node)
    if #turn.places > 0 or #turn.heap > 0 then replace_first(up.heap, entry(turn)) else pop_first(up.heap) end
    turn = up
  end
end

local function serve_next(root)
  local turn = root
  while #turn.heap > 0 do turn = turn.heap[1][4] end
  local before = turn.places[1]
  local place = before[4]
  if not find(place) then
    pop_first(turn.places)
    if #turn.places == 0 then drop_turn(turn) end
    return
  end
  local now = order(place)
  if now[1] ~= before[1] or now[2] ~= before[2] then
    replace_first(turn.places, now)
    return
  end
  local items, cost = place.lane[4][place.index][1], 0
  if save_up_for_owed(place, items) then return end
  grant_one(place.lane, items)
  take_run(place.key, place.lane, place.index)
  if find(place) then replace_first(turn.places, order(place)) else pop_first(turn.places) end
  for _, item in ipairs(items_of(items)) do cost = max(cost, item[2]) end
  served(turn, cost)
end

local function prefetch(some)
  local names, pool_names, seen = {''}, {}, {}
  for _, lane in pairs(some) do
    for _, name in ipairs(lineage(lane[2])) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
    for _, run in ipairs(lane[4]) do
      for _, item in ipairs(items_of(run[1])) do
        if not seen['=' .. item[1]] then
          seen['=' .. item[1]] = true
          pool_names[#pool_names + 1] = item[1]
        end
      end
    end
  end
  pools.fetch(pool_names)
  nodes.fetch(names)
end

local function is_in_place(key, lane)
  local lacking = lacked[key]
  if #lane[4] == 0 then return false end
  if not lacking then return true end
  for _, pool in ipairs(lacking) do
    if pool == lane[7] then return true end
  end
  return false
end

local function stand(key)
  local lane = lanes.get(key)
  if #lane[4] == 0 then
    drop_lane(key)
    return
  end
  local names = lineage(lane[2])
  if lane[7] ~= '' then wait(names, lane[7], -1) end
  lane[7] = lacked[key][1]
  lanes.put(key, lane)
  wait(names, lane[7], 1)
end

local function divide(some)
  prefetch(some)
  serve_overtaken(some)
  left, lacking_of = {}, {}
  local root = turn_of('')
  turns = {[''] = root}
  for key, lane in pairs(some) do
    if #lane[4] > 0 then enter(root, key, lane) end
  end
  for _, turn in pairs(turns) do
    for _, child in ipairs(turn.below) do
      child.tag = max(child.node[2], turn.node[3])
      turn.heap[#turn.heap + 1] = entry(child)
    end
    heapify(turn.heap)
    heapify(turn.places)
  end
  while #root.heap > 0 do serve_next(root) end
  local moved = {}
  meta.is_aside = false
  for key, lane in pairs(some) do
    meta.is_aside = meta.is_aside or (lane[5] ~= '' and #lane[4] > 0)
    if not is_in_place(key, lane) then moved[#moved + 1] = key end
  end
  for _, key in ipairs(by_number(moved)) do stand(key) end
end

local function is_timed(lane)
  for _, run in ipairs(lane[4]) do
    for _, item in ipairs(items_of(run[1])) do
      if caps_of(item[1])[2] >= 0 then return true end
    end
  end
  return false
end

local function grant(statement)
  reserved, blocked, wake_after, own_name = {}, {}, huge, statement.member
  if meta.t < meta.frozen_until then
    meta.is_unserved = true
    return
  end
  local everything = freed or meta.is_unserved or statement.is_due or meta.is_aside
  meta.is_unserved = false
  local some, is_any = {}, false
  for _, waiting in ipairs(statement.waiting) do
    local key = key_of(statement.member, waiting[1])
    local lane = agreed(key)
    if lane then
      some[key], is_any = lane, true
      everything = everything or is_timed(lane)
    end
  end
  if everything then
    local agrees = {}
    for name, member in pairs(members.all()) do agrees[name] = member[4] == meta.digest end
    for key, lane in pairs(lanes.all()) do
      if agrees[lane[1]] then some[key], is_any = lane, true end
    end
  end
  if nodes.size() >= meta.most_nodes then
    local kept = 0
    for name, node in pairs(nodes.all()) do
      if node[1] == 0 and name ~= '' and not next(node[5]) then nodes.drop(name) else kept = kept + 1 end
    end
    for key in pairs(balances.all()) do
      if not nodes.get(string.match(key, '\n(.*)$')) then balances.drop(key) end
    end
    meta.most_nodes = MAX_NODES + 2 * kept
  end
  if is_any then divide(some) end
end

-- the answer

local function add(counts, pool, count) counts[pool] = (counts[pool] or 0) + count end

local function pairs_list(counts)
  local found = {}
  for pool, count in pairs(counts) do found[#found + 1] = {pool, count} end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  return found
end

local function report()
  local waiting, names, claims, held = {['']={}}, {}, {}, {}
  for _, lane in pairs(lanes.all()) do
    local pool, count = lane[7], lane[8]
    if pool == '' then pool = items_of(lane[4][1][1])[1][1] end
    for _, run in ipairs(lane[4]) do count = count + run[2] end
    add(waiting[''], pool, count)
    local above = lineage(lane[2])
    for index = 1, #above - 1 do
      waiting[above[index]] = waiting[above[index]] or {}
      add(waiting[above[index]], pool, count)
    end
  end
  for name, node in pairs(nodes.all()) do
    if name ~= '' and string.sub(name, -1) ~= '/' and (waiting[name] or node[1] > 0) then
      names[#names + 1] = name
      claims[name] = node[1]
      for _, count in pairs(waiting[name] or {}) do claims[name] = claims[name] + count end
    end
  end
  table.sort(names, function(a, b)
    if claims[a] ~= claims[b] then return claims[a] > claims[b] end
    return a < b
  end)
  local found = {pools = {}, tenants = {}, left_out = max(0, #names - MAX_TENANTS)}
  for pool in pairs(waiting['']) do held[pool] = 0 end
  for pool, row in pairs(pools.all()) do held[pool] = row[1] end
  for _, pair in ipairs(pairs_list(held)) do
    found.pools[#found.pools + 1] = {pair[1], pair[2], waiting[''][pair[1]] or 0}
  end
  for index = 1, min(#names, MAX_TENANTS) do
    local name = names[index]
    found.tenants[index] = {name, pairs_list(nodes.get(name)[4]), pairs_list(waiting[name] or {})}
  end
  return found
end

local function answer(verdict, statement)
  local found = {verdict = verdict, now = meta.t}
  if statement then
    local name = statement.member
    local me = members.get(name)
    found.granted, me[5] = me[5], {}
    members.put(name, me)
    woken[name] = nil
    found.blocked, found.usage, found.members = blocked, {}, 0
    for _, pool in pairs(blocked) do found.usage[pool] = pool_row(pool)[1] end
    if meta.is_kept then
      found.kept = {}
      for _, pool in pairs(blocked) do found.kept[pool] = unused_of(pool) end
    end
    for _ in pairs(members.all()) do found.members = found.members + 1 end
    found.wake_after = wake_after == huge and -1 or wake_after
    found.recovering = max(0, meta.frozen_until - meta.t)
    found.generation, found.owner = meta.generation, meta.owner
    found.speaks = meta.speaker == name
    if statement.is_asking then found.report = report() end
    if statement.using ~= meta.digest then found.source = limits.get('source')[1] end
  end
  return found
end

local function load_meta()
  local text = call('GET', KEYS[1])
  meta = text and unpack_row(text)
  if meta then
    for index, one in ipairs(tables) do
      if one.size() ~= meta.sizes[index] then meta = nil; break end -- a key of ours was evicted or deleted
    end
  end
  if not meta then
    for _, one in ipairs(tables) do one.clear() end
    meta = {server = '', t = 0, at = 0, frozen_until = 0, is_unserved = false, is_aside = false, is_kept = false,
      first = '', numbers = 0, generation = 0, digest = '', owner = '', max_bypass = 0, most_nodes = MAX_NODES, speaker = ''}
  end
end

local function save()
  meta.sizes = {}
  for index, one in ipairs(tables) do
    one.flush()
    meta.sizes[index] = one.size()
  end
  call('SET', KEYS[1], pack(meta))
  for name in pairs(woken) do
    call('PUBLISH', name == '*' and KEYS[1] .. ':wake' or KEYS[1] .. ':wake:' .. name, '')
  end
end

local function server_run() return string.match(call('INFO', 'server'), 'run_id:(%w+)') end

local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Redis 6 lets scripts write although too few replicas follow
if not ARGV[3] and string.match(call('INFO', 'replication'), 'min_slaves_good_slaves:0%s') then
  return redis.error_reply('NOREPLICAS No replica follows, and min-replicas-to-write asks for one.')
end

local statement = unpack_row(ARGV[1])
freed, woken = false, {}
load_meta()
tick(ARGV[2] and tonumber(ARGV[2]) or now(), ARGV[3] or server_run(), statement.ttl)
local me = members.get(statement.member)
local found
if me and statement.number <= me[1] then
  found = answer('stale')
elseif not statement.is_full and not (me and statement.number == me[1] + 1) then
  found = answer('resync')
elseif not agree(statement) then
  found = answer('rules')
else
  take_statement(statement, me)
  grant(statement)
  found = answer('ok', statement)
end
settle_stirred()
save()
return pack(found)
