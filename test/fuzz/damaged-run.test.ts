/**
 * A run with damaged files, with locks that processes leave, or with random changes keeps the promises that
 * changed-run.test.ts describes.
 *
 * @slow
 */
import { utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { fuzzTimeout, runs } from '../support/soak.ts'
import { contentsOf, faultsAfter, faultsOf, files, free, paths, prepareRuns, removeRuns } from './resumed-run.ts'
import {
  type Change,
  copies,
  damages,
  type Folders,
  hardLink,
  lineDamages,
  locks,
  replacements,
} from './run-changes.ts'
import { changed, damaged } from './values.ts'

// Each training measures the speed of the machine at its start and end, which would take most of the time here.
vi.mock('../../src/train/measure/peak.ts', () => ({ measurePeakFlops: async () => 1e12 }))

beforeAll(prepareRuns, fuzzTimeout)
afterAll(removeRuns)

test.each(Object.entries(damages))(
  'a run keeps its promises with a file %s',
  async (_, change) => {
    const more = /^(config|metrics|routing)/
    expect(await faultsOf(files(), change, [0.4])).toEqual({})
    const others = files().filter(([path = '']) => more.test(path))
    expect(await faultsOf(others, change, [0, 0.9999])).toEqual({})
  },
  fuzzTimeout,
)

test.each(Object.entries(lineDamages))(
  'a run keeps its promises with a log %s',
  async (_, change) => {
    expect(await faultsOf([['metrics.jsonl'], ['routing.jsonl']], change, [0, 0.4, 0.999])).toEqual({})
  },
  fuzzTimeout,
)

test.each(Object.entries(locks))(
  'a run keeps its promises with a lock %s',
  async (_, text) => {
    const lock: Change = ({ run }) => {
      writeFileSync(join(run, '.lock'), text.replace('HOST', hostname()))
      utimesSync(join(run, '.lock'), 1e9, 1e9)
    }
    expect(await faultsOf([['.lock']], lock)).toEqual({})
  },
  fuzzTimeout,
)

interface RandomChange {
  readonly place: string
  readonly kind: string
  readonly at: number
  /** New contents in place of a change by name, a character for each byte. */
  readonly contents: string | null
}

const everything = { ...replacements, ...copies, ...damages, ...lineDamages, 'a hard link': hardLink }

function randomChange(): fc.Arbitrary<RandomChange> {
  const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  const named = (places: readonly string[], changes: Record<string, Change>) =>
    fc.record({
      place: fc.constantFrom(...places),
      kind: fc.constantFrom(...Object.keys(changes)),
      at,
      contents: fc.constant(null),
    })
  const file = fc.constantFrom(...paths(false))
  const rewritten = file.chain((place) => {
    const bytes = contentsOf(place)
    const json = place.endsWith('.json') ? changed(JSON.parse(bytes.toString())) : fc.constant(null)
    const text = json.map((value) => (value === null ? bytes : Buffer.from(JSON.stringify(value))))
    const contents = fc.oneof(damaged(bytes), text).map((other) => other.toString('latin1'))
    return fc.record({ place: fc.constant(place), kind: fc.constant('other contents'), at: fc.constant(0), contents })
  })
  return fc.oneof(
    named(paths(true), { ...replacements, ...copies }),
    named(free.flat(), replacements),
    named(paths(false), { ...replacements, ...copies, ...damages, 'a hard link': hardLink }),
    named(['metrics.jsonl', 'routing.jsonl'], { ...damages, ...lineDamages }),
    rewritten,
  )
}

const apply =
  ({ place, kind, at, contents }: RandomChange) =>
  (folders: Folders) => {
    try {
      if (contents !== null) writeFileSync(join(folders.run, place), contents, 'latin1')
      else (everything as Record<string, Change>)[kind]?.(folders, place, at)
    } catch (error) {
      // The change before this one has removed its place, or made it a link.
      if (!/^(ENOENT|ENOTDIR|EISDIR|EEXIST|ENXIO)/.test((error as Error).message)) throw error
    }
  }

test(
  'a run keeps its promises after any change',
  async () => {
    const property = fc.asyncProperty(randomChange(), async (change) => {
      expect(await faultsAfter([apply(change)])).toEqual([])
    })
    await fc.assert(property, runs(30))
  },
  fuzzTimeout,
)

test(
  'a run keeps its promises about results after two changes',
  async () => {
    const property = fc.asyncProperty(randomChange(), randomChange(), async (first, second) => {
      expect(await faultsAfter([apply(first), apply(second)], false)).toEqual([])
    })
    await fc.assert(property, runs(15))
  },
  fuzzTimeout,
)
