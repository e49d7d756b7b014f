/**
 * Registers the predictions of a study before its first run: results.json.gz gets an entry with the predictions, their
 * hash, the time, and the number of results that there were. If the predictions, or what they are about, are changed
 * later, that is a further entry. Processes that share the study register once: an entry is a cell like a run.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { canonicalJson } from '../../../core/text/json.ts'
import type { Prediction, Protocol, Registration } from '../contract.ts'
import type { StudyEvent } from '../events.ts'
import type { Grid } from '../grid/grid.ts'
import { Claim, type SharedCells } from './cell-files.ts'
import { checksumOf } from './checksum.ts'
import type { Ledger } from './ledger.ts'
import { describeMachine } from './record.ts'

/**
 * Version of the rules for protocols. The first version recorded neither `intervals` nor `tune`, so without a version
 * their absence means nothing. Raise it if a protocol gets another field.
 */
export const REGISTRATION_RULES = 2

/** Pause before a process looks again whether another process has registered. */
const PAUSE_MS = 50

export async function register(
  { protocol }: Pick<Grid, 'protocol'>,
  ledger: Ledger,
  cells: SharedCells,
  signal: AbortSignal,
): Promise<void> {
  const sha256 = checksumOf(protocol)
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
  const sha256 = checksumOf(protocol)
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

/**
 * The history of predictions over registrations. A prediction counts from the first of the registrations without a gap up
 * to now that have it unchanged, with unchanged settings of its arms. A prediction that a registration has and the next
 * one lacks was withdrawn.
 *
 * Registrations of earlier versions of the rules (`REGISTRATION_RULES`) recorded less. Such a registration is compared by
 * the fields that it has, so that a newer version makes no prediction late.
 */

/** The predictions of a study as they are now, and all their registrations. */
export interface RegisteredPredictions {
  readonly protocol: Protocol
  readonly registrations: readonly Registration[]
}

/** A registration, or the protocol of now, which is as complete as a registration of now would be. */
type Entry = Pick<Registration, 'protocol' | 'rules'>

export interface Withdrawn {
  readonly prediction: Prediction
  readonly since: Registration
  /** The last registration that has it. */
  readonly last: Registration
  /** The registration that lacks it; null if it is gone since the study was started last. */
  readonly until: Registration | null
}

/** Whether an entry knows the intervals and the sweep of its study: the first rules recorded neither. */
const isComplete = ({ rules, protocol }: Entry): boolean =>
  rules !== undefined || 'intervals' in protocol || 'tune' in protocol

/** A prediction with what it is about, as text: it is another prediction if an arm has other settings. */
function identityOf(prediction: Prediction, { capacity, intervals, tune, arms }: Protocol, complete: boolean): string {
  const settings = complete ? { intervals: intervals ?? 'student', tune: tune ?? null } : {}
  return canonicalJson([prediction, capacity, settings, prediction.contrasts.flat().map((arm) => arms[arm])])
}

/** Whether an entry has a prediction of another one. */
function has(entry: Entry, prediction: Prediction, of: Entry): boolean {
  const complete = isComplete(entry) && isComplete(of)
  const wanted = identityOf(prediction, of.protocol, complete)
  return entry.protocol.predictions.some((one) => identityOf(one, entry.protocol, complete) === wanted)
}

/** Whether a registration is about this protocol, with everything that the registration knows. */
export function isOf(registration: Registration, protocol: Protocol): boolean {
  const { intervals: _, tune: __, ...first } = protocol
  const comparable = isComplete(registration) ? protocol : first
  return canonicalJson(registration.protocol) === canonicalJson(comparable)
}

const entryOf = (protocol: Protocol): Entry => ({ protocol, rules: REGISTRATION_RULES })

/** The registration that a prediction of now counts from; null if it is in no registration yet. */
export const registeredSince = (
  prediction: Prediction,
  { protocol, registrations }: RegisteredPredictions,
): Registration | null => sinceOf(prediction, entryOf(protocol), registrations)

/** The first of the last registrations that have a prediction without a gap. */
function sinceOf(prediction: Prediction, of: Entry, registrations: readonly Registration[]): Registration | null {
  const gap = registrations.findLastIndex((registration) => !has(registration, prediction, of))
  return registrations[gap + 1] ?? null
}

/** Registered predictions that the study no longer has, or has again after a gap, in the order of their end. */
export function withdrawnFrom({ protocol: now, registrations }: RegisteredPredictions): Withdrawn[] {
  return registrations.flatMap((registration, i) => {
    const next = registrations[i + 1]
    return registration.protocol.predictions.flatMap((prediction): Withdrawn[] => {
      const since = sinceOf(prediction, registration, registrations.slice(0, i + 1))
      const kept = has(next ?? entryOf(now), prediction, registration)
      return kept || since === null ? [] : [{ prediction, since, last: registration, until: next ?? null }]
    })
  })
}

/**
 * Number of tests of withdrawn predictions. They count in Holm's correction: otherwise, withdrawing what failed would
 * help the rest. A prediction that was withdrawn before the first result was withdrawn for no result, and one that is
 * there again is tested once, so neither counts.
 */
export function withdrawnTests(registered: RegisteredPredictions): number {
  const { protocol } = registered
  const counted: [Prediction, Entry][] = protocol.predictions.map((one) => [one, entryOf(protocol)])
  let tests = 0
  for (const { prediction, last, until } of withdrawnFrom(registered)) {
    if (until?.ended === 0 || counted.some((other) => isSameTest([prediction, last], other))) continue
    counted.push([prediction, last])
    tests += prediction.contrasts.length
  }
  return tests
}

/** Whether two predictions are one test: they differ in nothing, or in their reasons alone. */
function isSameTest([a, entryOfA]: [Prediction, Entry], [b, entryOfB]: [Prediction, Entry]): boolean {
  const complete = isComplete(entryOfA) && isComplete(entryOfB)
  const testOf = ({ because: _, ...prediction }: Prediction, { protocol }: Entry) =>
    identityOf(prediction, protocol, complete)
  return testOf(a, entryOfA) === testOf(b, entryOfB)
}
