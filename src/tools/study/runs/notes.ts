/**
 * Results that a study cannot use because a file of the user's own part (a router, a layer, ...) changed: another version
 * of a part is another part, so its runs are trained again.
 */

import { groups } from 'd3-array'
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import { joinWords, plural } from '../../../core/text/numbers.ts'
import { namesIn, nounOf, type PluginKind, withPlugin } from '../../../node/run/plugins/kinds.ts'
import { warmsUpLong } from '../../../train/run/notices.ts'
import type { Cell, RunRecord } from '../contract.ts'
import { settingsHashOf } from '../grid/keys.ts'
import type { Ledger } from '../results/ledger.ts'

/** The notes about changed parts, one for each, before their runs are trained again. @param cells All known trainings */
export function changedPartNotes(cells: readonly Cell[], ledger: Pick<Ledger, 'find' | 'records'>): string[] {
  const used = new Set(cells.flatMap(({ key, config }) => ledger.find(key, config) ?? []))
  const missing = new Map(
    cells.flatMap(({ key, config }) =>
      ledger.find(key, config) || namesIn(config).length === 0 ? [] : [[withoutVersions(config), config] as const],
    ),
  )
  if (missing.size === 0) return []
  const changes = new Map<string, { readonly kind: PluginKind; readonly from: Set<string>; lost: Set<RunRecord> }>()
  for (const record of ledger.records) {
    if (used.has(record)) continue
    // The configuration may be of an earlier version, whose schema had fewer fields.
    const { data: stored } = runSchema.safeParse(record.config)
    const config = stored && missing.get(withoutVersions(stored))
    if (!config) continue
    const now = new Map(namesIn(config).map(({ kind, id }) => [kind, id]))
    for (const { kind, id } of namesIn(stored)) {
      const current = now.get(kind)
      if (current === undefined || current === id) continue
      const change = changes.get(current) ?? { kind, from: new Set(), lost: new Set() }
      changes.set(current, change)
      change.from.add(id)
      change.lost.add(record)
    }
  }
  return [...changes].map(
    ([id, { kind, from, lost }]) =>
      `the ${nounOf(kind)} ${nameOf(id)} changed: ${plural(lost.size, 'result')} ${lost.size === 1 ? 'was' : 'were'} made with ` +
      `another version of it (${[...from].join(', ')}; now ${id}) and cannot be used, so ${lost.size === 1 ? 'that run is' : 'these runs are'} ` +
      `trained again (to use what there is, stop, and restore the earlier file: runs have a copy, ${kind}.*)`,
  )
}

/** The settings that decide a result, with the names of parts and without their versions. */
function withoutVersions(config: RunConfig): string {
  const unversioned = namesIn(config).reduce(
    (fields, { kind, id }) => withPlugin(fields, kind, nameOf(id)),
    config as unknown as Parameters<typeof withPlugin>[0],
  )
  return settingsHashOf(unversioned as unknown as RunConfig)
}

const nameOf = (id: string): string => id.split('@')[0] ?? id

/** One note about all long warm-ups of a study, before it trains. Short branches of a run have its steps of warm-up. */

/** Largest number of arms that are named with one warm-up. */
const MAX_NAMED = 5

/** The arms whose learning rate rises for more than a quarter of the steps; null if there is none. */
export function warmupNote(cells: readonly Cell[]): string | null {
  const long = cells.filter(({ config }) => warmsUpLong(config))
  const byWarmup = groups(long, ({ config: { train } }) => `${train.schedule.warmup} of ${train.steps} steps`)
  if (byWarmup.length === 0) return null
  const listed = byWarmup.map(([warmup, own]) => {
    const arms = [...new Set(own.map(({ arm }) => arm))]
    const named = arms.length > MAX_NAMED ? [...arms.slice(0, MAX_NAMED), `${arms.length - MAX_NAMED} more`] : arms
    return `${warmup} in ${joinWords(named)}`
  })
  return (
    `the learning rate rises for more than a quarter of the steps: ${listed.join('; ')}; these losses are those of a ` +
    'lower rate than train.schedule.learningRate (set train.schedule.warmup to at most a quarter of train.steps)'
  )
}
