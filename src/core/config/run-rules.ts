/** Rules between fields of a run that follow from float32 and from tokenizers. */
import { type MoeConfig, SCORING_ROUTERS } from '../model/config/moe-config.ts'

interface Rates {
  readonly schedule: { readonly learningRate: number; readonly expertRate: number; readonly routerRate: number }
  readonly optimizer: { readonly weightDecay: number; readonly expertWeightDecay: number | null }
}

/**
 * Largest learning rate. A step changes a weight by about its learning rate, and weights begin near 1. At 2²⁴ nothing
 * of a weight near 1 is left in the float32 sum.
 */
const MAX_RATE = 2 ** 24

/** Problems of a schedule of the user's own. */
export function* scheduleProblems({ kind, own }: { readonly kind: string; readonly own: string | null }) {
  const path = ['train', 'schedule']
  if (kind === 'own' && own === null)
    yield {
      path: [...path, 'kind'],
      message: 'must be the path of the file of your schedule, such as ./my-schedule.ts',
    }
  if (kind !== 'own' && own !== null)
    yield { path: [...path, 'own'], message: 'must be null unless train.schedule.kind is "own"' }
}

interface OptimizerFields {
  readonly kind: string
  readonly own: string | null
  readonly settings: object
  readonly state: string
}

/** Problems of the optimizer: fields that another kind has, and what a device cannot compute. */
export function* optimizerProblems({ kind, own, settings, state }: OptimizerFields, { device }: { device: string }) {
  const path = ['train', 'optimizer']
  if (kind === 'own' && own === null)
    yield {
      path: [...path, 'kind'],
      message: 'must be the path of the file of your optimizer, such as ./my-optimizer.ts',
    }
  if (kind !== 'own' && own !== null)
    yield { path: [...path, 'own'], message: 'must be null unless train.optimizer.kind is "own"' }
  if (kind !== 'own' && Object.keys(settings).length > 0)
    yield {
      path: [...path, 'settings'],
      message: `must be {} with train.optimizer.kind "${kind}": only an optimizer of your own has further settings`,
    }
  if (kind === 'own' && device !== 'cpu')
    yield {
      path: [...path, 'kind'],
      message:
        `must be "adamw" or "adafactor" with runtime.device "${device}": an optimizer of your own is computed on the ` +
        'CPU (use runtime.device "cpu")',
    }
  if (state === 'float32') return
  if (kind !== 'adamw')
    yield {
      path: [...path, 'state'],
      message:
        `must be "float32" with train.optimizer.kind "${kind}", whose state is ${kind === 'own' ? 'its own' : 'small'} ` +
        '(use kind "adamw" for compact moments)',
    }
  else if (device !== 'cpu')
    yield {
      path: [...path, 'state'],
      message: `must be "float32" with runtime.device "${device}": compact moments are for the CPU`,
    }
}

/** Problems of learning rates and weight decays that are so large that one step erases the weights. */
export function* rateProblems({ schedule, optimizer }: Rates) {
  const { learningRate, expertRate, routerRate } = schedule
  const largest = Math.max(1, expertRate, routerRate) * learningRate
  if (largest > MAX_RATE) {
    yield {
      path: ['train', 'schedule', 'learningRate'],
      message:
        `must be at most 2^24${largest === learningRate ? '' : ', also times expertRate and routerRate'}: a step changes ` +
        'a weight by about the rate, and float32 has 24 bits, so nothing of a weight near 1 would be left',
    }
    return
  }
  for (const [field, decay, factor] of [
    // This decay applies to experts too, unless they have their own.
    ['weightDecay', optimizer.weightDecay, optimizer.expertWeightDecay === null ? Math.max(1, expertRate) : 1],
    ['expertWeightDecay', optimizer.expertWeightDecay ?? 0, expertRate],
  ] as const)
    if (decay * learningRate * factor > 1)
      yield {
        path: ['train', 'optimizer', field],
        message:
          `must be at most ${1 / (learningRate * factor)}: a step multiplies weights by 1 − learning rate · decay, which ` +
          'must not be negative',
      }
}

interface Balance {
  readonly moe: { readonly balance: { readonly coefficient: number }; readonly zLoss: number } | null
}

/**
 * Problems of coefficients that are so large that nothing of the loss of the text is left. The objective is the float32
 * sum of the loss of the text and of the losses of routers times their coefficients. All losses are near 1 at the
 * start.
 */
export function* coefficientProblems({ moe }: Balance, { finalBalance }: { readonly finalBalance: number }) {
  if (!moe) return
  const { balance, zLoss } = moe
  const reason =
    'the loss of the text and those of routers are added in float32, which has 24 bits, so nothing of the text would be left'
  if (balance.coefficient > MAX_RATE)
    yield { path: ['model', 'moe', 'balance', 'coefficient'], message: `must be at most 2^24: ${reason}` }
  else if (balance.coefficient * finalBalance > MAX_RATE)
    yield {
      path: ['train', 'schedule', 'finalBalance'],
      message: `must be at most 2^24 / model.moe.balance.coefficient: ${reason}`,
    }
  if (zLoss > MAX_RATE) yield { path: ['model', 'moe', 'zLoss'], message: `must be at most 2^24: ${reason}` }
}

/** Why the routes of a record cannot be replayed in a training. */
export function replayProblem({
  model: { moe },
  data: { replay, source },
}: {
  readonly model: { readonly moe: Pick<MoeConfig, 'router' | 'biasRate'> | null }
  readonly data: { readonly replay: string | null; readonly source: string | readonly string[] }
}): string | undefined {
  if (replay === null) return undefined
  if (!moe) return 'must be null for a dense model, which routes nothing'
  if (!SCORING_ROUTERS.includes(moe.router))
    return `must be null with the router "${moe.router}": only routers that score experts have gates for those of a record (${SCORING_ROUTERS.join(', ')})`
  if (moe.router === 'bias' && moe.biasRate > 0)
    return 'needs model.moe.biasRate 0: biases would move against the load of recorded experts, which no bias changes, without end'
  if ([source].flat().includes('-'))
    return 'must be null with data.source "-": the text is read twice, to find the recorded documents (give a file)'
  return undefined
}

/** Tokens that a tokenizer has before it learns any: 256 bytes and the end of text. */
const BYTE_TOKENS = 257

/**
 * Why the vocabulary is too small for the tokenizer. A tokenizer in a file is not checked: its size is not known yet.
 */
export function vocabularyProblem({
  model: { vocabulary },
  data: { tokenizer },
}: {
  readonly model: { readonly vocabulary: number }
  readonly data: { readonly tokenizer: { readonly kind: string } }
}): string | undefined {
  if (tokenizer.kind === 'bpe' && vocabulary <= BYTE_TOKENS)
    return `must be above ${BYTE_TOKENS}: a BPE begins with 256 bytes and the end of text (or use data.tokenizer.kind=bytes)`
  if (tokenizer.kind === 'bytes' && vocabulary < BYTE_TOKENS)
    return `must be at least ${BYTE_TOKENS}: 256 bytes and the end of text`
  return undefined
}
