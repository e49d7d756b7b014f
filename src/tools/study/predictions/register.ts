/**
 * Registers the predictions of a study before its first run: results.json.gz gets an entry with the predictions, their
 * hash, the time, and the number of results that there were. If the predictions, or what they are about, are changed
 * later, that is a further entry. Processes that share the study register once: an entry is a cell like a run.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { StudyEvent } from '../events.ts'
import type { Grid } from '../grid/grid.ts'
import type { Ledger } from '../results/ledger.ts'
import { describeMachine } from '../results/provenance.ts'
import { Claim, type SharedCells } from '../sharing/cell-files.ts'
import { REGISTRATION_RULES, type Registration, sha256Of } from './predictions.ts'

/** Pause before a process looks again whether another process has registered. */
const PAUSE_MS = 50

export async function register(
  { protocol }: Pick<Grid, 'protocol'>,
  ledger: Ledger,
  cells: SharedCells,
  signal: AbortSignal,
): Promise<void> {
  const sha256 = sha256Of(protocol)
  const isWanted = () => {
    const last = ledger.registrations.at(-1)
    // A study that never had predictions has no entry. Predictions that are removed are a change.
    return last === undefined ? protocol.predictions.length > 0 : last.sha256 !== sha256
  }
  while (!signal.aborted) {
    await ledger.refresh()
    if (!isWanted()) return
    const claim = await cells.claim(`registration-${ledger.registrations.length + 1}`, (news) => {
      ledger.absorb(news)
      return isWanted()
    })
    if (claim instanceof Claim) {
      const at = new Date().toISOString()
      const registration: Registration = { protocol, sha256, at, ended: ledger.ended, rules: REGISTRATION_RULES }
      const result = { registration, machine: describeMachine() }
      // The entry is stored in a file that only this process writes, before results.json.gz, which several write.
      await claim.finish(result)
      await ledger.put(result)
      return
    }
    await delay(PAUSE_MS, undefined, { signal }).catch(() => {})
  }
}

/** Emits the predictions of a study with their registration; nothing without predictions. */
export function emitPredictions(
  { protocol }: Pick<Grid, 'protocol'>,
  registrations: readonly Registration[],
  onEvent: (event: StudyEvent) => void,
): void {
  const { predictions } = protocol
  if (predictions.length === 0) return
  const sha256 = sha256Of(protocol)
  const last = registrations.at(-1)
  const entry = last?.sha256 === sha256 ? last : null
  onEvent({
    kind: 'predictions',
    predictions,
    sha256,
    at: entry?.at ?? null,
    ended: entry?.ended ?? null,
    changes: registrations.length - (entry ? 1 : 0),
  })
}
