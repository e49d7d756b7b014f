/**
 * Why a training that has stopped failed, from the record that it left: the batch of the last step that was not finite,
 * or `failure.json` of a training on several ranks. A run that its user stopped has neither.
 */
import { join } from 'node:path'
import { isFields } from '../../../core/config/fields.ts'
import { rankName } from '../../../core/text/rank-name.ts'
import { FAILURE_FILE, parseFailure } from '../../../node/run/ranks/files.ts'
import { nonFiniteBatch, nonFiniteMessage } from '../../../train/run/non-finite.ts'
import { readInside } from './confined.ts'

export interface Failure {
  /** The reason in the words of the terminal. */
  readonly reason: string
  /** Path of the record, relative to the run directory. */
  readonly file: string
}

/** Limit of a record: the batch of a step takes some bytes for each token. */
export const MAX_RECORD_BYTES = 1 << 24

/** Limits of texts from files: a reason is sent to every page with every change. */
const MAX_WHERE_LENGTH = 300
const MAX_REASON_LENGTH = 1000

/** The failure of a training that ended after `count` steps in a row, up to `step`, that were not finite. */
export async function nonFiniteFailure(root: string, directory: string, step: number, count: number): Promise<Failure> {
  const file = nonFiniteBatch(step)
  const stored = await jsonIn(root, join(directory, file))
  const { loss, grad_norm: gradNorm, where } = isFields(stored) ? stored : {}
  const found = { loss: Number(loss ?? Number.NaN), gradNorm: Number(gradNorm ?? Number.NaN) }
  const place = typeof where === 'string' ? where.slice(0, MAX_WHERE_LENGTH) : undefined
  const message = isFields(stored) ? nonFiniteMessage(step, found, place) : `step ${step}: the loss is not finite`
  return { file, reason: `${message}; stopped after ${count} such steps in a row` }
}

/** The first failure of a rank; null if there is none. */
export async function rankFailure(root: string, directory: string): Promise<Failure | null> {
  const text = await readInside(root, join(directory, FAILURE_FILE), MAX_RECORD_BYTES)
  const failure = text && parseFailure(text.toString())
  if (!failure) return null
  return { file: FAILURE_FILE, reason: `${rankName(failure)}: ${failure.reason}`.slice(0, MAX_REASON_LENGTH) }
}

async function jsonIn(root: string, path: string): Promise<unknown> {
  try {
    return JSON.parse((await readInside(root, path, MAX_RECORD_BYTES))?.toString() ?? '')
  } catch {
    return undefined
  }
}
