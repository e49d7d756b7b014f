/**
 * Results that a study cannot use because a file of the user's own part (a router, a layer, ...) changed: another version
 * of a part is another part, so its runs are trained again.
 */
import { type RunConfig, runSchema } from '../../../../core/config/run-config.ts'
import { plural } from '../../../../core/text/numbers.ts'
import { namesIn, nounOf, type PluginKind, withPlugin } from '../../../../node/run/plugins/kinds.ts'
import type { Cell, RunRecord } from '../../contract.ts'
import { settingsHashOf } from '../../results/keys.ts'
import type { Ledger } from '../../results/ledger.ts'

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
