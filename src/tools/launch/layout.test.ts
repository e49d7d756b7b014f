import { array, assert, boolean, constantFrom, integer, option, property, record } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../core/errors.ts'
import { parseHostfile, parseHosts } from './hosts.ts'
import { groupsSpanHosts, type Layout, placeRanks, type Request, withoutHosts } from './layout.ts'
import { mpirunWords } from './mpirun.ts'

const hosts = parseHosts('a:4,b:4')
const given = <T>(arbitrary: Parameters<typeof option<T>>[0]) => option(arbitrary, { nil: undefined })

/** Requests of all kinds, most of them possible. */
const requests = record({
  hosts: given(
    array(integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 4 }).map((slots) =>
      slots.map((count, i) => ({ name: `h${i}`, slots: count })),
    ),
  ),
  ranks: given(integer({ min: 1, max: 24 })),
  threads: given(integer({ min: 1, max: 4 })),
  cores: integer({ min: 1, max: 16 }),
  oversubscribe: boolean(),
  bind: boolean(),
  expert: constantFrom(1, 1, 2, 4),
}).map(
  (all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as unknown as Request,
)

/** The layout; undefined if the request is refused. */
function placed(request: Request): Layout | undefined {
  try {
    return placeRanks(request)
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError)
    return undefined
  }
}

/** Number of ranks on each host, if they fill the slots of one host before the slots of the next. */
function ranksOfHosts({ hosts, ranks }: Layout): number[] {
  let left = ranks
  return (hosts ?? [{ slots: ranks }]).map(({ slots }) => {
    const here = Math.min(slots, left)
    left -= here
    return here
  })
}

test('threads of a host fit its cores, ranks fit the slots, and groups are whole, unless oversubscribed', () => {
  let accepted = 0
  assert(
    property(requests, (request) => {
      const layout = placed(request)
      if (!layout) return
      accepted++
      expect(layout.ranks % request.expert).toBe(0)
      if (request.threads !== undefined) expect(layout.threads).toBe(request.threads)
      const counts = ranksOfHosts(layout)
      if (layout.oversubscribe) expect(request.oversubscribe).toBe(true)
      else {
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(layout.ranks)
        for (const count of counts) expect(count * layout.threads).toBeLessThanOrEqual(request.cores)
        expect(layout.ranksPerHost).toBe(Math.max(...counts))
      }
      if (layout.bound) expect(layout.oversubscribe).toBe(false)
    }),
    { numRuns: 500 },
  )
  expect(accepted).toBeGreaterThan(50)
})

test('the command lines of both libraries have the numbers of the layout', () => {
  assert(
    property(requests, (request) => {
      const layout = placed(request)
      if (!layout) return
      const after = (words: readonly string[], name: string) => words[words.indexOf(name) + 1] ?? ''
      const openmpi = mpirunWords(layout, { library: 'openmpi', mpirun: 'mpirun' })
      const mpich = mpirunWords(layout, { library: 'mpich', mpirun: 'mpirun' })
      for (const words of [openmpi, mpich]) expect(after(words, '-n')).toBe(String(layout.ranks))
      const [open, hydra] = [after(openmpi, '--host'), after(mpich, '-hosts')]
      if (layout.hosts) for (const list of [open, hydra]) expect(parseHosts(list)).toEqual(layout.hosts)
      else expect([...openmpi, ...mpich]).not.toContain('--host')
      expect(openmpi.includes('--oversubscribe')).toBe(layout.oversubscribe)
      expect(after(openmpi, '--bind-to')).toBe(layout.bound ? 'core' : 'none')
      expect(openmpi.includes('--map-by')).toBe(layout.bound)
      if (layout.bound) expect(after(openmpi, '--map-by')).toBe(`slot:PE=${layout.threads}`)
      expect(after(mpich, '-bind-to')).toBe(layout.bound ? `core:${layout.threads}` : 'none')
    }),
    { numRuns: 300 },
  )
})

test('without a host, the ranks that are left are whole groups in the slots that are left, with the same threads', () => {
  assert(
    property(requests, integer({ min: 0, max: 3 }), (request, index) => {
      const layout = placed(request)
      const name = layout?.hosts?.[index]?.name
      if (!layout?.hosts || name === undefined) return
      const left = withoutHosts(layout, new Set([name]), request)
      if (!left) return
      expect(left.hosts?.map((host) => host.name)).not.toContain(name)
      expect(left.ranks % request.expert).toBe(0)
      expect(left.threads).toBe(layout.threads)
      expect(left.ranks).toBeLessThanOrEqual(layout.ranks)
      if (layout.oversubscribe) return
      const counts = ranksOfHosts(left)
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(left.ranks)
      for (const count of counts) expect(count * left.threads).toBeLessThanOrEqual(request.cores)
    }),
  )
})

test('without a host, ranks divide the shards of the run', () => {
  const three = placeRanks({ hosts: parseHosts('a:4,b:2,c:2'), cores: 8, expert: 2 })
  expect(three.ranks).toBe(8)
  const after = (shards: number) => withoutHosts(three, new Set(['b']), { expert: 2, shards })?.ranks
  expect([8, 6, 12, 16, 3].map(after)).toEqual([4, 6, 6, 4, undefined])
})

test('eight ranks on two hosts of eight cores have two threads each', () => {
  expect(placeRanks({ hosts, cores: 8, expert: 4 })).toEqual({
    hosts,
    ranks: 8,
    ranksPerHost: 4,
    threads: 2,
    bound: true,
    oversubscribe: false,
  })
})

test('without b, groups of 4 go on with 4 ranks and groups of 8 cannot', () => {
  const layout = placeRanks({ hosts, cores: 8, expert: 4 })
  expect(withoutHosts(layout, new Set(['b']), { expert: 4 })).toMatchObject({ hosts: [hosts[0]], ranks: 4, threads: 2 })
  expect(withoutHosts(layout, new Set(['b']), { expert: 8 })).toBeNull()
})

test.each([
  [4, false],
  [2, false],
  [8, true],
])('groups of %i ranks on hosts of four span hosts: %s', (expert, spans) => {
  expect(groupsSpanHosts(placeRanks({ hosts, cores: 4, expert }), expert)).toBe(spans)
})

describe('an error names the field, the value and what to do', () => {
  const base = { cores: 8, expert: 1 }
  test.each<[Partial<Request>, string]>([
    [{}, 'missing ranks '],
    [{ ranks: 9 }, 'invalid ranks: 9 (this machine has 8 slots, one per physical core; use fewer ranks, '],
    [{ hosts, ranks: 9 }, 'invalid ranks: 9 (the hosts have 8 slots; use fewer ranks, '],
    [
      { ranks: 4, threads: 3 },
      'invalid threads: 3 (4 ranks on a host need 12 physical cores, it has 8; use threads=2 or',
    ],
    [{ ranks: 6, expert: 4 }, 'invalid ranks: 6 ranks (expected a multiple of parallel.expert 4, such as 4 or 8)'],
    [{ ranks: 2, expert: 4 }, 'invalid ranks: 2 ranks (expected a multiple of parallel.expert 4, such as 4)'],
    [{ hosts: [{ name: 'a' }] }, 'invalid hosts: "a" has no number of slots (expected "a:4", or ranks)'],
  ])('for the request %j', (request, message) => {
    expect(() => placeRanks({ ...base, ...request })).toThrow(message)
  })

  test.each(['', 'a:0', 'a:x', 'a b:2', 'a:2,', ':2', '-a:2', 'a;rm:2', 'a:2,a:2'])('for --hosts %j', (text) => {
    expect(() => parseHosts(text)).toThrow(/^invalid hosts: .*\((expected names with slots|give it once)/)
  })

  test.each([
    ['a slots=4\nb gpus=2\n', 'invalid hostfile: line 2 of hosts is "b gpus=2" (expected "a slots=4" or "a:4")'],
    ['# nobody\n\n', 'invalid hostfile: hosts has no host'],
    ['a\na\n', 'invalid hostfile: host "a" twice'],
  ])('for the host file %j', (text, message) => {
    expect(() => parseHostfile(text, 'hosts')).toThrow(message)
  })
})

test('host files of both libraries give the same hosts', () => {
  expect(parseHostfile('# ours\na slots=4 max_slots=8\n\nb.example slots=2 # old\n', 'f')).toEqual([
    { name: 'a', slots: 4 },
    { name: 'b.example', slots: 2 },
  ])
  expect(parseHostfile('a:4\nb.example:2\n', 'f')).toEqual(parseHosts('a:4,b.example:2'))
})

test('hosts without slots share the ranks, or have as many slots as a node of the cluster', () => {
  const open = parseHosts('a,b')
  expect(placeRanks({ hosts: open, ranks: 6, cores: 8, expert: 1 }).hosts).toEqual(parseHosts('a:3,b:3'))
  expect(placeRanks({ hosts: open, slotsPerHost: 8, cores: 8, expert: 1 }).ranks).toBe(16)
})
