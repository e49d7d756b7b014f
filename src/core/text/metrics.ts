/**
 * The glossary of metrics: the name, the unit and the meaning of each number that a training writes. The dashboard,
 * TensorBoard and the tables of docs/run-directory.md take them from here.
 *
 *     metricOf('eval/loss')?.name          // 'Held-out loss'
 *     metricOf('eval/dropless/loss')?.name // 'Held-out loss, dropless'
 *     describeMetric('train/drop_rate')    // 'Drop rate: the share of ... Lower is better.'
 */
export interface Metric {
  readonly name: string
  /** Unit of the values; null for a share or a ratio. */
  readonly unit: string | null
  /** A noun phrase, to be put after the name and a colon. */
  readonly meaning: string
  /** Which values are better; null if neither is. */
  readonly better: 'lower' | 'higher' | null
}

const metric = (name: string, unit: string | null, meaning: string, better: Metric['better'] = null): Metric => ({
  name,
  unit,
  meaning,
  better,
})

/** Metrics by field of a record of training or evaluation (docs/run-directory.md, docs/routing.md). */
const fields: Readonly<Record<string, Metric>> = {
  loss: metric('Loss', 'nats a token', 'the mean cross-entropy of the next token, without other losses', 'lower'),
  bits_per_byte: metric(
    'Bits per byte',
    'bits',
    'the loss in bits over the UTF-8 bytes of the text, comparable between tokenizers',
    'lower',
  ),
  drop_rate: metric('Drop rate', null, 'the share of choices that experts refused because they were full', 'lower'),
  unserved_rate: metric(
    'Unserved tokens',
    null,
    'the share of tokens that no expert computed, since all their choices were refused',
    'lower',
  ),
  load_cv: metric(
    'Load imbalance, c_v',
    null,
    'the standard deviation of the loads of experts over their mean, before experts refuse tokens; 0 is even',
  ),
  load_cv_kept: metric('Load imbalance after drops, c_v', null, 'the same for the tokens that experts computed'),
  dead_experts: metric(
    'Dead experts',
    'experts',
    'the number of experts that no token chose, over all layers',
    'lower',
  ),
  gate_mean: metric(
    'Mean gate',
    null,
    'the factor by which the output of experts is scaled: the sum of the gates of a token, on average',
  ),
  gate_entropy: metric(
    'Router entropy',
    'nats',
    'the entropy of the distribution over experts that a router computes for a token, on average',
  ),
  entropy_share: metric(
    'Router entropy, share of the largest',
    null,
    'router entropy over the entropy of an even choice: near 1 a router hardly prefers any expert',
  ),
  aux_loss: metric('Balancing loss', null, 'the balancing loss, mean over routers, before its coefficient'),
  z_loss: metric(
    'Router z-loss',
    null,
    'the squared log-sum-exp of router logits, mean over routers, before its coefficient',
  ),
  layer_loss: metric(
    'Loss of own layers',
    null,
    "the sum of the losses of layers of one's own, as the objective has it, mean over passes",
  ),
  learning_rate: metric(
    'Learning rate',
    null,
    'the learning rate of the step, before the factors of experts and routers',
  ),
  grad_norm: metric('Gradient norm', null, 'the norm of all gradients, before clipping'),
  step_ms: metric('Step time', 'ms', 'the duration of the step, without evaluation and checkpoints', 'lower'),
  tokens_per_second: metric('Speed', 'tokens/s', 'tokens of the step over its duration', 'higher'),
  mfu: metric(
    'MFU',
    null,
    'model FLOPs utilisation: the operations that the model needs, over those that this machine could do in the time',
    'higher',
  ),
  later_tokens_gain: metric(
    'Gain from later tokens',
    'nats a token',
    "how much lower the loss of the first half of held-out texts is with their own second half, if a router or a layer of one's own sees it",
  ),
  evaluated_tokens: metric('Evaluated tokens', 'tokens', 'the number of tokens of the evaluation'),
}

/** Metrics by field of a record of ranks. Lists have a curve for each rank. */
const ranks: Readonly<Record<string, Metric>> = {
  load_max_over_mean: metric(
    'Busiest rank',
    null,
    'the assignments that the experts of the busiest rank computed, over the mean',
    'lower',
  ),
  compute_max_over_median: metric(
    'Slowest rank',
    null,
    'the longest computation of a rank, over the median of the others',
    'lower',
  ),
  communication_share: metric(
    'Communication',
    null,
    'the share of a step in which ranks exchange data, mean over ranks',
    'lower',
  ),
  wait_share: metric(
    'Waiting',
    null,
    'the share of a step in which ranks wait for another rank, mean over ranks',
    'lower',
  ),
}

/** Words for the capacity rules of an evaluation (`src/train/run/capacity-scalars.ts`). */
const rules: Readonly<Record<string, string>> = {
  dropless: 'dropless',
  train_capacity: 'capacity of training',
  eval_capacity: 'capacity of evaluation',
}

/** Fields that only evaluations have: that they are held-out needs no word. */
const evaluatedOnly: readonly string[] = ['bits_per_byte', 'evaluated_tokens', 'later_tokens_gain']

/** Prefixes of the records of a training; TensorBoard has statistics of routers below `routing`. */
const trained = ['train', 'routing']

/** The entry of a metric such as `train/loss` or `eval/dropless/loss`; null if it is not a metric of Choir. */
export function metricOf(tag: string): Metric | null {
  const [kind = '', ...rest] = tag.split('/')
  const field = rest.at(-1) ?? ''
  if (kind === 'ranks') return rest.length === 1 ? own(ranks, field) : null
  const found = own(fields, field)
  if (!found || rest.length > 2) return null
  if (trained.includes(kind) && rest.length === 1) return field === 'loss' ? { ...found, name: 'Training loss' } : found
  const rule = rest.length === 2 ? own(rules, rest[0] as string) : ''
  if (kind !== 'eval' || rule === null) return null
  const plain = evaluatedOnly.includes(field) ? found.name : `${found.name}, held-out`
  const name = field === 'loss' ? 'Held-out loss' : plain
  return { ...found, name: rule === '' ? name : `${name}, ${rule}` }
}

/** The name of a metric, or its tag if it is not a metric of Choir. */
export const metricName = (tag: string): string => metricOf(tag)?.name ?? tag

/** `the share of choices ... Lower is better.`, with the unit; null if it is not a metric of Choir. */
export function describeMetric(tag: string): string | null {
  const found = metricOf(tag)
  if (!found) return null
  const { unit, meaning, better } = found
  const first = meaning.slice(0, 1).toUpperCase() + meaning.slice(1)
  return `${first}${unit === null ? '' : `, in ${unit}`}.${better === null ? '' : ` ${better === 'lower' ? 'Lower' : 'Higher'} is better.`}`
}

const own = <T>(of: Readonly<Record<string, T>>, name: string): T | null =>
  Object.hasOwn(of, name) ? (of[name] as T) : null
