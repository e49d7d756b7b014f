/**
 * Mistakes in studies as people make them, and the messages about them.
 *
 * @slow
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { UsageError } from '../../../core/errors.ts'
import { temporaryFolder } from '../../../node/data/testing/temporary-folder.ts'
import { readSpecification } from './read-specification.ts'

const temporary = temporaryFolder()

type Fields = Readonly<Record<string, unknown>>

const control = { name: 'other seeds', contrast: ['a', 'b'], capacity: 'none', seeds: [1] }
const claim = { statement: 'b is better', kind: 'difference', expect: 'better' }
const question = { title: 'Is b better?', baseline: 'a', arms: ['b'] }
const study = { base: 'tiny', arms: { a: {}, b: { 'model.moe.k': 2 } }, questions: [question] }

/** The lines of the message about a study; empty if it is accepted. */
async function problemsOf(content: unknown): Promise<string[]> {
  const file = join(temporary.make(), 'study.yaml')
  await writeFile(file, stringify(content))
  try {
    await readSpecification(file)
    return []
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return error.message.split('\n  ').slice(1)
  }
}
const ofStudy = (fields: Fields) => problemsOf({ ...study, ...fields })
const ofQuestion = (fields: Fields) => ofStudy({ questions: [{ ...question, ...fields }] })
const ofClaim = (fields: Fields) => ofQuestion({ claim: { ...claim, ...fields } })
const ofControl = (fields: Fields) => ofClaim({ controls: [{ ...control, ...fields }] })

/** An object in which a field has another name. */
const renamed = (fields: Fields, from: string, to: string): Fields =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name === from ? to : name, value]))

/** Every object of a study with all of its fields, and where it is. */
const trend = { ...claim, kind: 'trend', expect: 'falls', over: 'tokens', name: 'n', source: 's', published: '1' }
const objects: readonly [path: string, fields: Fields, within: (fields: Fields) => Fields][] = [
  [
    '',
    {
      ...study,
      title: 't',
      set: {},
      seeds: [1],
      capacity: 'none',
      pilot: ['a', 'b'],
      grid: {},
      branches: [0.5, 1],
      elsewhere: [],
      timings: [],
      timedOnly: {},
      specialise: [],
      tune: {},
    },
    (fields) => fields,
  ],
  [
    'tune',
    { rates: [1, 2], steps: 0.5, seeds: [0], confirm: [9], margin: 0.1 },
    (fields) => ({ ...study, tune: fields }),
  ],
  [
    'predictions.0',
    { question: question.title, contrasts: [['a', 'b']], of: 'most', expect: 'better', margin: 0.1, because: 'x' },
    (fields) => ({ ...study, predictions: [fields] }),
  ],
  [
    'predictions.0',
    { question: question.title, from: -0.2, to: -0.1 },
    (fields) => ({ ...study, predictions: [fields] }),
  ],
  [
    'arms.b.match',
    { equal: 'activeParameters', of: 'a', by: 'model.hidden' },
    (fields) => ({ ...study, arms: { a: {}, b: { 'model.moe': null, match: fields } } }),
  ],
  ['questions.0', { ...question, about: 'x', view: 'plain', claim }, (fields) => ({ ...study, questions: [fields] })],
  [
    'questions.0.claim',
    { ...claim, name: 'n', source: 's', published: '1', margin: 1, contrasts: [['a', 'b']], of: 'most', controls: [] },
    (fields) => ({ ...study, questions: [{ ...question, claim: fields }] }),
  ],
  [
    'questions.0.claims.0',
    { ...claim, kind: 'speed', measure: 'steps' },
    (fields) => ({ ...study, questions: [{ ...question, claims: [fields] }] }),
  ],
  [
    'questions.0.claim',
    { ...trend, arms: ['a', 'b'] },
    (fields) => ({ ...study, questions: [{ ...question, claim: fields }] }),
  ],
  [
    'questions.0.claim.controls.0',
    control,
    (fields) => ({ ...study, questions: [{ ...question, claim: { ...claim, controls: [fields] } }] }),
  ],
]
const fieldsOfObjects = objects.flatMap(([path, fields, within]) =>
  Object.keys(fields).map((field) => [path === '' ? field : `${path}.${field}`, field, fields, within] as const),
)

describe('a misspelt field', () => {
  test.each(fieldsOfObjects)(
    '%s is the only problem that is named, with its value and the field that is meant',
    async (path, field, fields, within) => {
      expect(await problemsOf(within(fields))).toEqual([])
      // A letter in the middle is doubled: `expect` becomes `exppect`.
      const at = Math.ceil(field.length / 2)
      const typo = field.slice(0, at) + field.charAt(at - 1) + field.slice(at)
      const [problem = '', ...others] = await problemsOf(within(renamed(fields, field, typo)))
      expect(others).toEqual([])
      expect(problem).toMatch(/^unknown field /)
      expect(problem).toContain(` ${path.slice(0, -field.length)}${typo}: `)
      expect(problem).toContain(`did you mean "${path}"?`)
    },
  )

  test('of a claim without a letter is named with the fields of its kind', async () => {
    const { expect: _, ...rest } = claim
    expect(await ofQuestion({ claim: { ...rest, expct: 'better' } })).toEqual([
      'unknown field questions.0.claim.expct: "better" (accepted in questions.0.claim with kind difference: kind, statement, name, source, published, margin, controls, contrasts, of, expect; did you mean "questions.0.claim.expect"?)',
    ])
  })
})

describe('a field at the wrong place', () => {
  test('of a claim of another kind is named with the kinds that have it', async () => {
    expect((await ofClaim({ measure: 'steps' })).join()).toMatch(
      /claim\.measure: "steps" .*; measure is a field of kind speed\)/,
    )
    expect((await ofClaim({ arms: ['a', 'b'] })).join()).toMatch(/; arms is a field of kind trend or returns\)/)
  })

  test('one level too high is named with the place where it belongs', async () => {
    expect((await ofQuestion({ claim, expect: 'better' })).join()).toMatch(
      /unknown field questions\.0\.expect: .*did you mean "questions\.0\.claim\.expect"\?/,
    )
  })

  test('that JavaScript gives every object is unknown as any other', async () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty'])
      expect((await ofClaim({ [name]: 1 })).join()).toMatch(`unknown field questions.0.claim.${name}: 1 (accepted`)
  })
})

describe('a wrong value', () => {
  test.each([
    [
      () => ofStudy({ capacity: 'trian' }),
      'invalid capacity: "trian" (expected train, eval or none; did you mean "train"?)',
    ],
    [
      () => ofStudy({ arms: { a: {}, b: { match: { equal: 'seconds' } } } }),
      /^invalid arms\.b\.match\.equal: "seconds" \(expected activeFlops, totalParameters, activeParameters or memory; the seconds of a step depend on the machine/,
    ],
    [
      () => ofStudy({ arms: { a: {}, b: { match: 'memory' } } }),
      'invalid arms.b.match: "memory" (expected a group of fields: equal, of, by)',
    ],
    [() => ofStudy({ pilot: ['a'] }), 'invalid pilot: ["a"] (expected a pair, [baseline, arm])'],
    [() => ofStudy({ seeds: 3 }), 'invalid seeds: 3 (expected a list: for 3 seeds, [1, 2, 3])'],
    [
      () => ofStudy({ questions: ['x'] }),
      /^invalid questions\.0: "x" \(expected a group of fields: title, about, view, /,
    ],
    [() => ofQuestion({ title: 3 }), 'invalid questions.0.title: 3 (expected text; put it in quotes)'],
    [
      () => ofQuestion({ view: 'plian' }),
      /^invalid questions\.0\.view: "plian" \(expected plain, .* or witness; did you mean "plain"\?\)$/,
    ],
    [() => ofQuestion({ arms: 'b' }), 'invalid questions.0.arms: "b" (expected a list, such as ["b"])'],
    [
      () => ofClaim({ kind: 'diference' }),
      'invalid questions.0.claim.kind: "diference" (expected difference, speed, trend, returns or correlation; did you mean "difference"?)',
    ],
    [
      () => ofClaim({ expect: 'falls' }),
      'invalid questions.0.claim.expect: "falls" (expected better, worse or equal with kind difference; falls is of kind trend or correlation)',
    ],
    [
      () => ofClaim({ expect: undefined }),
      'invalid questions.0.claim.expect: nothing (expected better, worse or equal with kind difference)',
    ],
    [
      () => ofClaim({ kind: 'speed', measure: 'hours' }),
      'invalid questions.0.claim.measure: "hours" (expected steps, flops or seconds)',
    ],
    [
      () => ofClaim({ source: 2105.15082 }),
      'invalid questions.0.claim.source: 2105.15082 (expected text; put it in quotes)',
    ],
    [
      () => ofClaim({ contrasts: [['a', 'b', 'c']] }),
      'invalid questions.0.claim.contrasts.0: ["a","b","c"] (expected a pair, [baseline, arm])',
    ],
    [() => ofControl({ seeds: 1 }), 'invalid questions.0.claim.controls.0.seeds: 1 (expected a list, such as [1])'],
  ])('%# is named with its path, what is accepted and the nearest name', async (problems, message) => {
    const [problem, ...others] = await problems()
    expect(others).toEqual([])
    if (typeof message === 'string') expect(problem).toBe(message)
    else expect(problem).toMatch(message)
  })
})

test('a number that is too large is named with the largest one', async () =>
  expect(await ofStudy({ branches: [0.5, 2, 1] })).toContain('invalid branches.1: 2 (expected a number of at most 1)'))

test('any value at any field is accepted or a usage error with a line for each problem', () =>
  fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...fieldsOfObjects),
      fc.jsonValue({ maxDepth: 3 }),
      async ([, field, fields, within], value) => {
        for (const problem of await problemsOf(within({ ...fields, [field]: value })))
          expect(problem).toMatch(/^(invalid|unknown field) [^ ].* \(.*\)$/s)
      },
    ),
    { numRuns: 300 },
  ))
