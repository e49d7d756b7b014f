/**
 * Results that were changed after they were written: they are refused with the place of the change, or the change has
 * no effect.
 *
 * @slow
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RunError, UsageError } from '../../../core/errors.ts'
import { analyse } from '../analysis/analyse.ts'
import type { FinishedRun, StudyResults } from '../contract.ts'
import { resultsOf } from '../results/results.ts'
import { runStudy, studyOf } from '../runs/run-study.ts'
import { FakeStudy, recorder, runWithLoss } from '../testing/fake-study.ts'
import { readStored, storedText, writeStored } from '../testing/stored.ts'

/** A record with every field that there is. */
function fullRecord(job: Parameters<typeof runWithLoss>[0]): FinishedRun {
  const run = runWithLoss(job)
  const losses = { train: 1, eval: 2, none: 3 }
  const layer = { layer: 0, module: 'ffn' as const, step: [10, 20], loadCv: [0.4, 0.3], loadCvKept: [0.2, 0.1] }
  return {
    ...run,
    layers: [
      {
        ...layer,
        dropRate: [0, 0],
        entropy: [1, 1],
        gate: [0.5, 0.6],
        load: [
          [0.5, 0.5],
          [0.4, 0.6],
        ],
      },
    ],
    heldOut: {
      ...run.heldOut,
      domains: [{ name: 'a', evaluated_tokens: 10, evaluated_bytes: 40, losses }],
      documents: { documents: 2, groups: [2], tokens: [500, 500], nats: { train: [2000, 2100], none: [2000, 2050] } },
    },
  }
}

type Stored = { format: number; records: Record<string, unknown>[] } & Record<string, unknown>

let fake: FakeStudy
let intact: string
beforeAll(async () => {
  fake = await FakeStudy.open()
  const input = { arms: { a: {}, b: { 'model.moe.k': 2 } }, seeds: [1, 2], timings: ['a', 'b'] }
  await runStudy(fake.specification(input), fake.options(), recorder(fullRecord).run)
  intact = storedText(fake.file('out'))
})
afterAll(() => fake.close())

const contents = (): Stored => JSON.parse(intact) as Stored

/** The results as a program wrote them before there were checksums. */
function older(): Stored {
  const stored = contents()
  const plain = (list: unknown) => (list as Record<string, unknown>[]).map(({ checksum: _, ...entry }) => entry)
  return { ...stored, format: 2, records: plain(stored.records), timings: plain(stored.timings) }
}

/** The report of these results, or the error with which they are refused. */
async function outcomeOf(stored: unknown): Promise<unknown> {
  writeStored(fake.file('out'), JSON.stringify(stored))
  try {
    const specification = fake.specification({
      arms: { a: {}, b: { 'model.moe.k': 2 } },
      seeds: [1, 2],
      timings: ['a', 'b'],
    })
    const { grid, ledger } = await studyOf(specification, fake.options())
    const results: StudyResults = resultsOf(specification, fake.options(), grid, ledger)
    return analyse(results)
  } catch (error) {
    return error
  }
}

const pathsIn = (value: unknown, path: readonly string[] = []): (readonly string[])[] =>
  typeof value !== 'object' || value === null
    ? []
    : Object.entries(value).flatMap(([key, below]) => [[...path, key], ...pathsIn(below, [...path, key])])

function changeAt(stored: Stored, path: readonly string[], value: unknown): Stored {
  const copy = structuredClone(stored)
  const owner = path.slice(0, -1).reduce<unknown>((below, key) => (below as Record<string, unknown>)[key], copy)
  ;(owner as Record<string, unknown>)[path.at(-1) as string] = value
  return copy
}

const typeOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value)
const others: readonly unknown[] = [null, true, 5, 'text', [], {}, [[1]], { a: 1 }]

/** The path of one field of one record, and a value of another type for it. */
const typeChanges = (of: Stored) =>
  fc.constantFrom(...pathsIn(of.records).map((path) => ['records', ...path])).chain((path) => {
    const before = path.reduce<unknown>((below, key) => (below as Record<string, unknown>)[key], of)
    return fc
      .constantFrom(...others.filter((other) => typeOf(other) !== typeOf(before)))
      .map((value) => [path, value] as const)
  })

describe('a field of a record whose type is changed', () => {
  test('is refused with the number of the record, or leaves the report as it is', async () => {
    const report = await outcomeOf(contents())
    await fc.assert(
      fc.asyncProperty(typeChanges(contents()), async ([path, value]) => {
        const outcome = await outcomeOf(changeAt(contents(), path, value))
        if (!(outcome instanceof Error)) {
          expect(outcome).toEqual(report)
          return
        }
        expect(outcome).toBeInstanceOf(RunError)
        expect(outcome.message).toMatch(/^cannot read \S*results\.json\.gz: record \d of 4 /)
      }),
      { numRuns: 150 },
    )
  }, 120_000)

  test('is refused as damaged in results without checksums, or a report can still be made', async () => {
    expect(await outcomeOf(older())).toEqual(await outcomeOf(contents()))
    await fc.assert(
      fc.asyncProperty(typeChanges(older()), async ([path, value]) => {
        const outcome = await outcomeOf(changeAt(older(), path, value))
        if (!(outcome instanceof Error)) {
          expect(outcome).toHaveProperty('sections')
          return
        }
        expect(outcome instanceof RunError || outcome instanceof UsageError, String(outcome.stack)).toBe(true)
        // Fields of the configuration are not checked by type, but compared with the configurations of the study.
        if (path[2] !== 'config') expect(outcome.message).toMatch(/record \d of 4 is damaged: |program/)
      }),
      { numRuns: 300 },
    )
  }, 120_000)
})

test('losses of an arm that were lowered after they were written are refused', async () => {
  const stored = contents()
  for (const { config, heldOut } of stored.records as unknown as FinishedRun[])
    if (config.model.moe?.k === 2) Object.assign(heldOut.capacities.none, { loss: heldOut.capacities.none.loss - 4 })
  const failure = await outcomeOf(stored)
  expect(failure).toBeInstanceOf(RunError)
  expect((failure as Error).message).toMatch(
    /results\.json\.gz: record \d of 4 \(key [0-9a-f]{16}\) was changed after it was written, .* remove the entry/,
  )
})

test('a step time that was changed, and a record whose checksum was removed, are refused', async () => {
  const stored = contents() as unknown as { timings: { stepMs: number }[]; records: { checksum?: string }[] }
  ;(stored.timings[1] as { stepMs: number }).stepMs = 1
  expect(await outcomeOf(stored)).toMatchObject({ message: expect.stringMatching(/timing 2 of 2 .* was changed/) })
  const other = contents() as unknown as typeof stored
  delete other.records[0]?.checksum
  expect(await outcomeOf(other)).toMatchObject({ message: expect.stringMatching(/record 1 of 4 .* was changed/) })
})

test('a record that was removed as a whole is computed again, and older results then get checksums', async () => {
  const stored = older()
  stored.records.splice(1, 1)
  writeStored(fake.file('out'), JSON.stringify(stored))
  const { jobs, run } = recorder(fullRecord)
  const input = { arms: { a: {}, b: { 'model.moe.k': 2 } }, seeds: [1, 2], timings: ['a', 'b'] }
  await runStudy(fake.specification(input), fake.options(), run)
  expect(jobs.filter(({ kind }) => kind === 'train')).toHaveLength(1)
  const written = readStored<Stored>(fake.file('out'))
  expect(written.format).toBe(3)
  expect(written.records.map(({ checksum }) => checksum)).toEqual(
    Array(4).fill(expect.stringMatching(/^[0-9a-f]{64}$/)),
  )
})
