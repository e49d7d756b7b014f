/** Names and configurations by run. The same as long as these are the same, though runs change every second. */
import { computed, untracked } from '@preact/signals'
import type { RunSummary } from '../../../../src/watch/api.ts'
import { runs } from '../../store.ts'

/** A configuration is written once, when its run is made. */
const made = computed(() => JSON.stringify(runs.value.map(({ id, name, created }) => [id, name, created])))

export const knownRuns = computed<ReadonlyMap<string, RunSummary>>(() => {
  void made.value
  return new Map(untracked(() => runs.value).map((run) => [run.id, run]))
})
