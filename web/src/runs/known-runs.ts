/** Runs by id, for their names and configurations. Runs change every second; this map changes only with these two. */
import { computed, untracked } from '@preact/signals'
import type { RunSummary } from '../../../src/faces/watch/api.ts'
import { runs } from '../shared/store.ts'

/** `created` stands for the configuration, which is written once, when its run is created. */
const key = computed(() => JSON.stringify(runs.value.map(({ id, name, created }) => [id, name, created])))

export const knownRuns = computed<ReadonlyMap<string, RunSummary>>(() => {
  void key.value
  return new Map(untracked(() => runs.value).map((run) => [run.id, run]))
})
