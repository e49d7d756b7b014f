/** Expanding a specification into cells: names, combinations, and everything that is refused before the first run. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { describeModel } from '../../../core/model/describe.ts'
import { hashTableOf } from '../../../core/model/routing/hash.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { namedIn } from '../claim.ts'
import { type SpecificationInput, specificationSchema } from '../specification.ts'
import { expand } from './grid.ts'
import { isResultOf, keyOf } from './keys.ts'
import { NUMERICS } from './numerics.ts'
import { builtinStudies, readBuiltin, readSpecification, studySizes, withAssignments } from './read-specification.ts'

const temporary = temporaryFolder()

const grid = async (input: SpecificationInput, sets: string[] = []) =>
  expand(withAssignments(specificationSchema.parse({ base: 'tiny', ...input }), sets))

const refused = (input: SpecificationInput) => expect(grid(input)).rejects

describe('arms', () => {
  test('a grid has an arm for every combination of values, named by them', async () => {
    const { arms, cells } = await grid({ grid: { 'model.moe.k': [1, 2], 'model.moe.capacity': ['1x', 'none'] } })
    expect(Object.keys(arms)).toEqual([
      'k=1, capacity=1x',
      'k=1, capacity=none',
      'k=2, capacity=1x',
      'k=2, capacity=none',
    ])
    expect(cells.find(({ arm }) => arm === 'k=2, capacity=none')?.config.model.moe).toMatchObject({
      k: 2,
      capacity: 'none',
    })
  })

  test('hash routers have a table for each seed, whose seed is not in the keys of other arms', async () => {
    const { cells } = await grid({
      seeds: [0, 7],
      arms: { hashed: { 'model.moe.router': 'hash' }, learned: {}, dense: { 'model.moe': null } },
    })
    const cellOf = (arm: string, seed: number) => {
      const found = cells.find((cell) => cell.arm === arm && cell.seed === seed)
      if (!found) throw new Error(`no cell ${arm} ${seed}`)
      return found
    }
    const table = ({ config }: ReturnType<typeof cellOf>) => hashTableOf(config.model, 0, 'ffn')
    expect(cellOf('hashed', 7).config.model.moe?.hashSeed).toBe(7)
    expect(table(cellOf('hashed', 7))).not.toEqual(table(cellOf('hashed', 0)))
    expect(cellOf('learned', 7).config.model.moe?.hashSeed).toBe(0)
    for (const arm of ['learned', 'dense']) {
      const { config, key } = cellOf(arm, 7)
      const sets = [`train.seed=7`, `data.order=7`, ...(arm === 'dense' ? ['model.moe=null'] : [])]
      expect(key).toBe(keyOf(await loadConfig('tiny', sets)))
      expect(config.data.order).toBe(7)
    }
  })

  test('fields with the same last part are named by as much of the path as distinguishes them', async () => {
    const { arms } = await grid({ grid: { 'model.hidden': [32], 'model.moe.hidden': [64], 'model.moe.k': [1] } })
    expect(Object.keys(arms)).toEqual(['model.hidden=32, moe.hidden=64, k=1'])
  })

  test('every arm has a cell with every seed, and cells are sorted by seed', async () => {
    const { cells } = await grid({ seeds: [3, 5], arms: { a: {}, b: { 'model.moe.k': 2 } } })
    expect(cells.map(({ arm, seed }) => `${arm}${seed}`)).toEqual(['a3', 'b3', 'a5', 'b5'])
    for (const { seed, config } of cells) {
      expect(config.train.seed).toBe(seed)
      expect(config.data.order).toBe(seed)
      // The split is the same for all: losses are on the same text.
      expect(config.data.seed).toBe(0)
    }
  })

  test('an arm overrides --set, and --set overrides the settings of the study for all arms', async () => {
    const input = { set: { 'model.moe.factor': 2 }, arms: { a: {}, b: { 'model.moe.factor': 3 } }, seeds: [1] }
    const factors = async (...sets: string[]) =>
      (await grid(input, sets)).cells.map(({ config }) => config.model.moe?.factor)
    expect(await factors()).toEqual([2, 3])
    expect(await factors('model.moe.factor=4')).toEqual([4, 3])
  })

  test('a --set that would change no arm is refused', () =>
    expect(grid({ arms: { a: { 'model.moe.k': 1 }, b: { 'model.moe.k': 2 } } }, ['model.moe.k=3'])).rejects.toThrow(
      /invalid model\.moe\.k for all arms \(every arm of the study sets it itself\)/,
    ))

  test('a group of settings does not change the fields that it omits', async () => {
    const nested = await grid({ set: { train: { steps: 9 } }, arms: { a: { model: { moe: { k: 2 } } } } })
    const dotted = await grid({ set: { 'train.steps': 9 }, arms: { a: { 'model.moe.k': 2 } } })
    expect(nested.cells).toEqual(dotted.cells)
    expect(nested.cells[0]?.config.train.batch).toBe((await loadConfig('tiny', [])).train.batch)
  })

  test('without questions every arm is compared with the first', async () => {
    const { questions } = await grid({ arms: { a: {}, b: { 'model.moe.k': 2 }, c: { 'model.moe.k': 3 } } })
    expect(questions[0]?.contrasts).toEqual([
      { baseline: 'a', arm: 'b' },
      { baseline: 'a', arm: 'c' },
    ])
  })
})

describe('dense arms', () => {
  const moes = async (input: SpecificationInput, sets: string[] = []) =>
    (await grid({ seeds: [1], ...input }, sets)).cells.map(({ config }) => config.model.moe)
  const ofTiny = async () => (await loadConfig('tiny', [])).model.moe

  test.each([
    ['by its path', { 'model.moe': null }],
    ['in a group', { model: { moe: null } }],
  ])('are possible with settings of experts for all arms: %s', async (_, dense) => {
    const set = { 'model.moe.experts': 16, 'model.moe.zLoss': 0 }
    const [first, second] = await moes({ set, arms: { dense, sparse: { 'model.moe.k': 2 } } })
    expect(first).toBeNull()
    expect(second).toEqual({ ...(await ofTiny()), experts: 16, zLoss: 0, k: 2 })
  })

  test('by a setting for all arms leave the experts of the base to an arm that sets one of their fields', async () => {
    const [first, second] = await moes({
      set: { 'model.moe': null },
      arms: { dense: {}, sparse: { 'model.moe.k': 2 } },
    })
    expect(first).toBeNull()
    expect(second).toEqual({ ...(await ofTiny()), k: 2 })
  })

  test('ignore fields of experts given with --set, which sparse arms use', async () => {
    const [first, second] = await moes({ arms: { dense: { 'model.moe': null }, sparse: {} } }, ['model.moe.k=3'])
    expect(first).toBeNull()
    expect(second).toMatchObject({ k: 3 })
  })

  test('have the FLOPs of a sparse arm without its routers, given the hidden width that a token uses', async () => {
    const set = { 'model.hidden': 3 * 48 + 16, 'model.moe.hidden': 48, 'model.moe.sharedHidden': 16 }
    const { cells } = await grid({
      seeds: [1],
      set,
      arms: { sparse: { 'model.moe.k': 3 }, dense: { 'model.moe': null } },
    })
    const [sparse, dense] = cells.map(({ config }) => describeModel(config.model).flopsPerToken)
    const { layers, width, moe } = cells[0]?.config.model ?? { layers: 0, width: 0, moe: null }
    // 2 operations per weight forward and 4 backward.
    expect((sparse ?? 0) - (dense ?? 0)).toBe(layers * 6 * width * (moe?.experts ?? 0))
  })

  test('can be values of a grid, and be timed', async () => {
    const { cells, timed } = await grid({
      seeds: [1],
      grid: { 'model.moe': [null, { k: 2 }], 'model.width': [32, 64] },
      timings: ['moe=null, width=32'],
    })
    expect(cells.map(({ config }) => config.model.moe?.k ?? 'dense')).toEqual(['dense', 'dense', 2, 2])
    expect(timed.map(({ config }) => config.model.moe)).toEqual([null])
  })

  test.each<[string, SpecificationInput, string[], RegExp]>([
    [
      'that set a field of experts too',
      { arms: { a: { 'model.moe': null, 'model.moe.k': 2 } } },
      [],
      /invalid arm "a": it sets model\.moe to null and model\.moe\.k to 2 \(leave out one/,
    ],
    [
      'of a grid that set a field of experts too',
      { grid: { 'model.moe': [null], 'model.moe.k': [1, 2] } },
      [],
      /invalid grid: it sets model\.moe/,
    ],
    [
      'by --set, where an arm sets a field of experts',
      { arms: { a: {}, b: { 'model.moe.k': 2 } } },
      ['model.moe=null'],
      /invalid set: model\.moe=null \(an arm of the study sets model\.moe\.k/,
    ],
    [
      'alone, with a setting of experts for all',
      { arms: { a: { 'model.moe': null }, b: { 'model.moe': null, 'model.hidden': 32 } } },
      ['model.moe.k=2'],
      /invalid model\.moe\.k for all arms \(.*a dense model/,
    ],
  ])('%s are refused', (_, input, sets, message) => expect(grid(input, sets)).rejects.toThrow(message))
})

test('best rates are confirmed with given seeds, or one that neither the study nor its trials have', async () => {
  const confirming = async (input: Partial<SpecificationInput>) =>
    (await grid({ arms: { a: {}, b: { 'model.moe.k': 2 } }, tune: {}, ...input })).sweeps.map(({ confirm }) => confirm)
  expect(await confirming({ seeds: [1, 2] })).toEqual([[100], [100]])
  expect(await confirming({ seeds: [100, 101], tune: { seeds: [102] } })).toEqual([[103], [103]])
  expect(await confirming({ seeds: [1, 2], tune: { confirm: [8, 9] } })).toEqual([
    [8, 9],
    [8, 9],
  ])
})

describe('before the first run, a study is refused for', () => {
  const two = { arms: { a: {}, b: { 'model.moe.k': 2 } } }

  test('a trial that is not shorter than a run', () =>
    refused({ ...two, set: { 'train.steps': 8 }, tune: { steps: 8 } }).toThrow(
      'invalid tune.steps: 8 (arm "a" trains 8 steps; expected fewer, or a share below 1)',
    ))

  test.each([
    [2, 'seeds'],
    [5, 'tune.seeds'],
  ])('a confirming seed that is used already: %d', (seed, where) =>
    refused({ ...two, seeds: [1, 2], tune: { seeds: [5], confirm: [9, seed] } }).toThrow(
      `invalid tune.confirm: ${seed} is also in ${where} (expected other seeds:`,
    ),
  )

  test('a control at a capacity at which its arms are never compared', async () => {
    const study = (capacity: 'none' | 'eval', router: string) => ({
      arms: { a: {}, s: { 'model.moe.router': router, 'model.moe.capacity': 'kx' } },
      questions: [
        {
          title: 'q',
          contrasts: [['a', 's'] as [string, string]],
          claim: {
            statement: 'It is so',
            kind: 'difference' as const,
            expect: 'better' as const,
            controls: [{ name: 'wide', contrast: ['a', 's'] as [string, string], capacity }],
          },
        },
      ],
    })
    await refused(study('eval', 'sinkhorn')).toThrow(
      'invalid questions.0.claim.controls.0.capacity of "wide": "eval" (expected none: a router of "a" and "s" is sinkhorn,',
    )
    await grid(study('none', 'sinkhorn'))
    await grid(study('eval', 'bias'))
  })

  test('a pilot of an unknown arm', () => refused({ ...two, pilot: ['a', 'c'] }).toThrow('unknown arm "c" in pilot'))

  test('a pilot of arms that are the same', () =>
    refused({
      arms: { ...two.arms, c: {} },
      questions: [{ title: 'q', contrasts: [['a', 'b']] }],
      pilot: ['a', 'c'],
    }).toThrow('invalid pilot: "c" cannot be compared with "a": they are the same configuration'))

  test.each([
    ['a', 'b', 'the baseline has experts'],
    ['dense', 'top-2', 'does not use one expert for each token'],
    ['dense', 'wide', 'model.moe.hidden is 512, and model.hidden of the baseline 1024'],
  ])('a map of %s and %s, which have no number of experts to compare', (baseline, arm, message) =>
    refused({
      arms: {
        ...two.arms,
        dense: { 'model.moe': null, 'model.hidden': 1024 },
        'top-2': { 'model.moe.k': 2, 'model.moe.hidden': 1024 },
        wide: { 'model.moe.k': 1, 'model.moe.hidden': 512 },
      },
      questions: [{ title: 'q', view: 'map', baseline, arms: [arm] }],
    }).toThrow(`"${arm}" cannot be compared with "${baseline}": ${message}`.replace(': does', ': the arm does')),
  )

  test('having no arms', () => refused({}).toThrow('it has no arms'))

  test('an unknown field, and the message names the arm and the nearest field', () =>
    refused({ arms: { a: { 'model.moe.expert': 4 } } }).toThrow(/arm "a".*model\.moe\.expert.*did you mean.*experts/s))

  test('values that contradict each other', () =>
    refused({ grid: { 'model.moe.router': ['switch'], 'model.moe.k': [1, 2] } }).toThrow(
      /arm "router=switch, k=2".*must be 1 for the switch router/s,
    ))

  test('an unknown arm in a question, and the message names the nearest arm', () =>
    refused({
      arms: { 'top-1': {}, 'top-2': { 'model.moe.k': 2 } },
      questions: [{ title: 'q', baseline: 'top-1', arms: ['top2'] }],
    }).toThrow('unknown arm "top2" in questions.0.arms.0 of "q" (arms: "top-1", "top-2"; did you mean'))

  test('arms that are the same configuration', () =>
    refused({ arms: { a: {}, b: { 'model.moe.k': 1 } } }).toThrow('they are the same configuration'))

  test('arms that train on different tokens', () =>
    refused({ arms: { a: {}, b: { 'train.steps': 30 } } }).toThrow('train.steps differs'))

  test.each(['train.seed', 'model.moe.hashSeed'])('an arm that sets %s, which belongs to the study', (field) =>
    refused({ arms: { a: { [field]: 3 } } }).toThrow(`invalid ${field} in a study: it is set by seeds`),
  )

  test('a name that would change the order of arms', () =>
    refused({ arms: { dense: {}, 16: { 'model.moe.k': 2 } } }).toThrow('invalid name of an arm: "16"'))

  test('a grid with too many combinations', () =>
    refused({
      grid: Object.fromEntries(
        ['k', 'factor', 'evalFactor', 'zLoss'].map((field) => [`model.moe.${field}`, [1, 2, 3, 4, 5, 6, 7]]),
      ),
    }).toThrow('invalid grid: 2401 combinations'))

  test('measuring the specialisation of a dense model', () =>
    refused({ arms: { a: { 'model.moe': null } }, specialise: ['a'] }).toThrow('"a" is a dense model'))

  test('text from standard input', () => refused({ arms: { a: {} }, set: { 'data.source': '-' } }).toThrow('"-"'))

  test('a field in a group that belongs to the study', () =>
    refused({ arms: { a: { train: { seed: 3 } } } }).toThrow('invalid train.seed in a study'))

  test('a repeated seed', () => refused({ seeds: [1, 1], arms: { a: {} } }).toThrow('1 appears twice'))
})

test('a repeated comparison counts once', async () => {
  const arms = { a: {}, b: { 'model.moe.k': 2 } }
  const { questions, timed } = await grid({
    arms,
    questions: [{ title: 'q', baseline: 'a', arms: ['b', 'b'] }],
    timings: ['a', 'a'],
  })
  expect(questions[0]?.contrasts).toEqual([{ baseline: 'a', arm: 'b' }])
  expect(timed).toHaveLength(1)
})

describe('the key of a result', () => {
  test('depends on what decides the result, and on nothing else', async () => {
    const base = await loadConfig('tiny', [])
    const key = (...sets: string[]) => loadConfig('tiny', sets).then(keyOf)
    for (const irrelevant of ['runtime.threads=3', 'train.keep=5', 'train.routingEvery=7', 'data.cache=elsewhere'])
      expect(await key(irrelevant), irrelevant).toBe(keyOf(base))
    for (const decisive of ['train.seed=1', 'data.order=1', 'model.moe.k=2', 'train.steps=21', 'runtime.math=bf16'])
      expect(await key(decisive), decisive).not.toBe(keyOf(base))
  })

  test('does not change with a new field in the schema, and a changed default is detected', async () => {
    const config = await loadConfig('tiny', [])
    const { zLoss: _, ...older } = config.model.moe as NonNullable<typeof config.model.moe>
    const stored = { ...config, model: { ...config.model, moe: older } } as unknown as typeof config
    expect(keyOf(stored)).toBe(keyOf(config))
    expect(isResultOf(stored, config)).toBe(true)
    const other = { ...config, model: { ...config.model, moe: { ...older, zLoss: 0.5 } } } as typeof config
    expect(isResultOf(other, config)).toBe(false)
    // A field that the schema no longer knows.
    expect(isResultOf({ ...config, gone: 1 } as typeof config, config)).toBe(false)
  })

  test('changes with the numerics: a run that an older program started is not continued', async () => {
    const config = await loadConfig('tiny', [])
    vi.doMock('./numerics.ts', () => ({ NUMERICS: NUMERICS + 1 }))
    vi.resetModules()
    const newer = await import('./keys.ts')
    vi.doUnmock('./numerics.ts')
    expect(newer.keyOf(config)).not.toBe(keyOf(config))
  })

  test('does not depend on the order of fields', async () => {
    const config = await loadConfig('demo', [])
    const reversed = Object.fromEntries(Object.entries(config).reverse()) as typeof config
    expect(keyOf(reversed)).toBe(keyOf(config))
  })
})

describe.each(Object.keys(builtinStudies))('%s', (name) => {
  test.each(Object.keys(studySizes))(
    'every cell of %s is a valid configuration, and a question uses every arm',
    async (size) => {
      const specification = await readBuiltin(name, size)
      const { cells, arms, questions } = await expand(specification)
      expect(cells.length).toBe(specification.seeds.length * Object.keys(specification.arms).length)
      for (const { title, claims = [] } of questions) expect(claims.length, title).toBeGreaterThan(0)
      const asked = new Set(
        questions.flatMap(({ contrasts, claims = [] }) => [
          ...contrasts.flatMap(({ baseline, arm }) => [baseline, arm]),
          ...claims.flatMap((claim) => namedIn(claim).flatMap(({ arms }) => [...arms])),
        ]),
      )
      expect(
        Object.keys(arms).filter((arm) => !asked.has(arm) && !Object.hasOwn(specification.timedOnly, arm)),
      ).toEqual([])
    },
  )
})

describe('a file', () => {
  const read = async (text: string) => {
    const file = join(temporary.make(), 'study.yaml')
    await writeFile(file, text)
    return readSpecification(file)
  }

  test.each([
    ['rates without the common one', 'tune: { rates: [0.5, 2] }', /invalid tune\.rates: .* \(must include 1/],
    ['a repeated rate', 'tune: { rates: [1, 2, 2] }', /must not repeat a multiple/],
    [
      'part of a step',
      'tune: { steps: 2.5 }',
      /invalid tune\.steps: 2\.5 \(must be a whole number, or a share below 1/,
    ],
    ['no confirming seed', 'tune: { confirm: [] }', /invalid tune\.confirm: \[\] \(expected at least 1 entry\)/],
    ['a repeated seed of the sweep', 'tune: { seeds: [3, 3] }', /must not repeat a seed/],
    ['an empty list', 'grid: { model.moe.k: [] }', /invalid grid\.model\.moe\.k: \[\] \(expected at least 1 entry\)/],
    [
      'a question without arms',
      'questions: [{ title: a, baseline: b }]',
      /needs either baseline and arms, or contrasts/,
    ],
    ['invalid YAML', 'arms: {', /line 1, column/],
    ['a binary file', '\u0000\u0001PAR1', /it is a binary file/],
    ['nothing', '', /invalid study: null \(expected a group of fields: title, base, /],
    ['an arm without a name', 'arms: { "": {} }', /\(expected a name that is not empty\)/],
    ['a margin below 0', 'tune: { margin: -1 }', /invalid tune\.margin: -1 \(expected a number of at least 0\)/],
    ['steps of 0', 'tune: { steps: 0 }', /invalid tune\.steps: 0 \(expected a number above 0\)/],
  ])('with %s is refused, and the message names the mistake', (_, text, message) =>
    expect(read(text)).rejects.toThrow(message),
  )

  test('that does not exist is refused', () =>
    expect(readSpecification(join('nowhere', 'study.yaml'))).rejects.toThrow('cannot read study "nowhere'))

  test('with any text is a specification or a usage error', () =>
    fc.assert(
      fc.asyncProperty(fc.string(), async (text) => {
        await read(text).catch((error: Error) => expect(error.name).toBe('UsageError'))
      }),
      { numRuns: 50 },
    ))
})
