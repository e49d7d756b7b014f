import { beforeEach, expect, test, vi } from 'vitest'
import type { Change, Collection } from '../../../src/faces/watch/api.ts'
import { eventually } from '../../../src/node/system/testing/eventually.ts'
import { runWith } from '../testing/run.ts'

// Modules read their fields from the address when they are loaded.
vi.stubGlobal('location', { search: '', pathname: '/' })

class FakeEvents extends EventTarget {
  static readonly CLOSED = 2
  static all: FakeEvents[] = []
  readyState = 1
  isClosed = false
  constructor() {
    super()
    FakeEvents.all.push(this)
  }
  close() {
    this.isClosed = true
  }
  emit(change: Change) {
    this.dispatchEvent(new MessageEvent('change', { data: JSON.stringify(change) }))
  }
}
const page = Object.assign(new EventTarget(), { hidden: false })
vi.stubGlobal('document', page)
vi.stubGlobal('EventSource', FakeEvents)
let served: Collection
vi.stubGlobal('fetch', async () => Response.json(served))

const { chosen, collection, filterText, follow, hidden, matchingRuns, problem, shownRuns, versions, whyNoRun } =
  await import('./store.ts')

const show = (hidden: boolean) => {
  page.hidden = hidden
  page.dispatchEvent(new Event('visibilitychange'))
}
const opened = () => FakeEvents.all.filter(({ isClosed }) => !isClosed)
const version = (run: string) => versions.value.get(run)

beforeEach(() => {
  served = { version: 3, roots: [], runs: [runWith({ id: 'a' })], progress: null }
})

test('a hidden tab has no connection, and misses nothing', async () => {
  follow()
  expect(opened()).toHaveLength(1)
  opened()[0]?.dispatchEvent(new Event('open'))
  opened()[0]?.emit({ version: 3, runs: ['a'] })
  // Versions change only after the collection was loaded: requests for a removed run would fail.
  expect(version('a')).toBeUndefined()
  await eventually(() => expect(version('a')).toBeGreaterThan(0))
  const before = version('a') ?? 0

  show(true)
  expect(opened()).toHaveLength(0)
  show(false)
  show(false)
  expect(opened()).toHaveLength(1)

  // Changes in the meantime were not received, so every run may have changed.
  opened()[0]?.dispatchEvent(new Event('open'))
  await eventually(() => expect(version('a')).toBeGreaterThan(before))
  expect(problem.value).toBeNull()
})

test('after a lost connection is restored, all runs are reloaded', async () => {
  const events = opened()[0] as FakeEvents
  events.dispatchEvent(new Event('error'))
  expect(problem.value).toContain('lost')
  // Versions grow even if the new server has the same version numbers.
  const before = version('a') ?? 0
  events.dispatchEvent(new Event('open'))
  await eventually(() => expect(version('a')).toBeGreaterThan(before))
  expect(problem.value).toBeNull()
})

test('after an HTTP error the page reconnects, which browsers do not do', async () => {
  vi.useFakeTimers()
  try {
    const refused = opened()[0] as FakeEvents
    refused.readyState = FakeEvents.CLOSED
    refused.dispatchEvent(new Event('error'))
    expect(opened()).toHaveLength(0)
    vi.advanceTimersByTime(10_000)
    expect(opened()).toHaveLength(1)
  } finally {
    vi.useRealTimers()
  }
})

test('the shown runs are the selected runs that match the filter, or without a selection all that match', () => {
  const names = (runs: typeof shownRuns) => runs.value.map(({ id }) => id)
  collection.value = { ...served, runs: ['a1', 'a2', 'b'].map((id) => runWith({ id, name: id, path: id })) }
  filterText.value = 'a'
  expect(names(shownRuns)).toEqual(['a1', 'a2'])
  chosen.value = ['a2', 'b']
  expect(names(matchingRuns)).toEqual(['a1', 'a2'])
  expect(names(shownRuns)).toEqual(['a2'])
  chosen.value = ['b']
  expect(names(shownRuns)).toEqual([])
  expect(whyNoRun()).toMatch(/^None of the selected runs matches the filter/)
  chosen.value = []
  filterText.value = 'c'
  expect(whyNoRun()).toBe('No run matches the filter.')
  filterText.value = ''
  expect(names(shownRuns)).toEqual(['a1', 'a2', 'b'])
  hidden.value = ['a2']
  expect(names(shownRuns)).toEqual(['a1', 'b'])
  // A run that appears is shown, as no link could have named it.
  collection.value = { ...served, runs: ['a1', 'a2', 'b', 'new'].map((id) => runWith({ id, name: id, path: id })) }
  expect(names(shownRuns)).toEqual(['a1', 'b', 'new'])
  chosen.value = ['a2']
  expect(names(shownRuns)).toEqual(['a2'])
  chosen.value = []
  filterText.value = 'a2'
  expect(whyNoRun()).toMatch(/^All runs that match the filter are hidden/)
  filterText.value = ''
  hidden.value = []
  chosen.value = ['gone']
  expect(whyNoRun()).toMatch(/^The selected runs no longer exist/)
})
