/**
 * Predictions: the researcher writes before the first run which differences each question will show, as a direction or
 * as an interval. The program registers them when the study starts (`register.ts`), and the report compares them
 * with what was found (`../analysis/predictions.ts`).
 *
 * A *protocol* is everything that a later change could bend a prediction with: the predictions with their contrasts,
 * the seeds, the capacity rule, the kind of intervals, the sweep of learning rates, and the settings of the arms in these
 * contrasts.
 *
 * @example
 * ```yaml
 * predictions:
 *   - { question: Does a second expert help?, expect: better }
 *   - { question: Prototypes or top-2?, from: -0.05, to: -0.01 }
 *   - { question: Does a hash do?, contrasts: [[top-1, hash]], expect: equal, margin: 0.02 }
 * ```
 */
import { z } from 'zod'
import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import { contrastFields } from '../grid/claim.ts'
import { checksumOf } from '../results/checksum.ts'

export const predictionSchema = z
  .strictObject({
    /** Title of the question. */
    question: z.string().min(1),
    ...contrastFields,
    /** The expected direction: the loss of the arm is lower than the loss of its baseline, higher, or equal. */
    expect: z.enum(['better', 'worse', 'equal']).optional(),
    /** With `equal`, the largest difference that counts as none; with a direction, the smallest that counts; nats. */
    margin: z.number().nonnegative().optional(),
    /** Ends of the expected difference, loss of the arm minus loss of its baseline, nats a token. */
    from: z.number().optional(),
    to: z.number().optional(),
    /** The reason for the prediction, in a sentence. */
    because: z.string().min(1).optional(),
  })
  .superRefine(({ expect, margin, from, to }, { addIssue }) => {
    const refuse = (message: string, ...path: string[]) => addIssue({ code: 'custom', message, path })
    const ends = [from, to].filter((end) => end !== undefined).length
    if (expect === undefined && ends === 0)
      refuse('needs expect (better, worse or equal), or from and to, the ends of the difference in nats a token')
    else if (expect !== undefined && ends > 0)
      refuse('has both expect and from or to (give a direction, or an interval)')
    else if (ends === 1)
      refuse(`has ${from === undefined ? 'to' : 'from'} alone (give both ends of the interval, from and to)`)
    if (from !== undefined && to !== undefined && from >= to)
      refuse(`must be below to, which is ${to}: negative differences are those of a better arm`, 'from')
    if (margin !== undefined && expect === undefined && ends > 0)
      refuse('belongs to expect, not to from and to', 'margin')
    if (expect === 'equal' && !((margin ?? 0) > 0))
      refuse('needs a margin above 0: no experiment shows that two numbers are exactly equal', 'margin')
  })

/** A prediction with its contrasts, as it is registered. */
export type Prediction = Omit<z.output<typeof predictionSchema>, 'contrasts'> & {
  readonly contrasts: readonly (readonly [baseline: string, arm: string])[]
}

export interface Protocol {
  readonly predictions: readonly Prediction[]
  readonly seeds: readonly number[]
  readonly capacity: CapacityRule
  /** The settings `intervals` and `tune` of the study; absent without them. */
  readonly intervals?: 'student' | 'anytime' | undefined
  readonly tune?: object | undefined
  /** Hashes of the settings of the arms in the contrasts of the predictions, by arm. */
  readonly arms: Readonly<Record<string, string>>
}

/** A protocol as it was registered, in results.json.gz. An entry is never replaced: a change is a further entry. */
export interface Registration {
  readonly protocol: Protocol
  /** SHA-256 of the protocol as JSON with sorted keys and without spaces. */
  readonly sha256: string
  /** Time in UTC at which the program first saw the protocol, in ISO 8601. */
  readonly at: string
  /** Number of results that there were at that time: runs, failed ones too, and trials of sweeps. */
  readonly ended: number
  /** Version of the rules by which the protocol was made (`REGISTRATION_RULES`); absent in the first versions. */
  readonly rules?: number
}

/**
 * Version of the rules for protocols. The first version recorded neither `intervals` nor `tune`, so without a version
 * their absence means nothing. Raise it if a protocol gets another field, and see `history.ts`.
 */
export const REGISTRATION_RULES = 2

/** SHA-256 of a protocol, which finds it among registrations. */
export const sha256Of = (protocol: Protocol): string => checksumOf(protocol)
