/**
 * The types of the contents of results.json.gz. Older records lack some fields, and newer programs may add others. A
 * measured number is null if it was not finite, since JSON has no NaN.
 */
import { z } from 'zod'
import { expectationOf } from '../../../core/config/expected.ts'
import { formatValue } from '../../../core/config/problems.ts'

const text = z.string()
const number = z.number()
const measured = z.number().nullable()
const numbers = z.array(number)
const series = z.array(measured)

const byRule = <Schema extends z.ZodType>(of: Schema) => z.looseObject({ train: of, eval: of, none: of })

const underRule = z.looseObject({
  loss: measured,
  bits_per_byte: measured,
  drop_rate: measured,
  unserved_rate: measured,
})

const evaluation = z.looseObject({
  step: number,
  tokens: number,
  loss: measured,
  bits_per_byte: measured,
  aux_loss: measured,
  z_loss: measured,
  drop_rate: measured,
  unserved_rate: measured,
  load_cv: measured,
  load_cv_kept: measured,
  dead_experts: measured,
  gate_mean: measured.optional(),
  gate_entropy: measured.optional(),
  entropy_share: measured.optional(),
  evaluated_tokens: number,
  capacity: z.enum(['train', 'eval', 'none']),
  capacities: byRule(underRule),
  domains: z
    .array(z.looseObject({ name: text, evaluated_tokens: number, evaluated_bytes: number, losses: byRule(measured) }))
    .optional(),
  documents: z
    .looseObject({
      documents: number,
      groups: numbers,
      tokens: numbers,
      nats: z.looseObject({ train: series, eval: series.optional(), none: series.optional() }),
    })
    .optional(),
})

const layer = z.looseObject({
  layer: number,
  module: z.enum(['ffn', 'qkv', 'output']),
  step: numbers,
  loadCv: series,
  loadCvKept: series,
  dropRate: series,
  entropy: series,
  gate: series.optional(),
  load: z.array(series),
})

/** The type of a configuration is not checked here: `isResultOf` compares it with the configuration of the study. */
const identity = { key: text, seed: number, config: z.looseObject({}) }

const finished = z.looseObject({
  status: z.literal('finished'),
  version: z.int(),
  ...identity,
  program: text,
  machine: text,
  corpus: text,
  engine: text,
  parameters: number,
  activeParameters: number,
  tokens: number,
  trainFlops: measured,
  seconds: measured,
  train: z.looseObject({ step: numbers, loss: series }),
  evaluations: z.array(z.looseObject({ step: number, seconds: measured, loss: number, losses: byRule(measured) })),
  heldOut: evaluation,
  elsewhere: z.record(text, evaluation),
  elsewhereCorpora: z.record(text, text),
  routing: z.looseObject({ loadCv: measured, loadCvKept: measured, dropRate: measured, deadExperts: measured }),
  layers: z.array(layer),
  leak: z.looseObject({ train: measured, eval: measured }),
})

const failed = z.looseObject({ status: z.literal('failed'), ...identity, error: text })

const timing = z.looseObject({
  arm: text,
  key: text,
  stepMs: number,
  turnsMs: numbers,
  engine: text,
  machine: text.optional(),
})

const specialisation = z.looseObject({
  key: text,
  arm: text,
  seed: number,
  source: text,
  tokens: number,
  periods: z.array(text),
  parties: z.array(text),
  information: z.array(
    z.looseObject({ of: z.enum(['year', 'party', 'token']), nats: measured, shuffled: measured, entropy: measured }),
  ),
  experts: z.array(
    z.looseObject({
      layer: number,
      expert: number,
      share: measured,
      tokens: z.array(z.looseObject({ text, count: number, share: measured })),
      periods: series,
      parties: series,
    }),
  ),
})

const registration = z.looseObject({
  protocol: z.looseObject({
    predictions: z.array(
      z.looseObject({
        question: text,
        contrasts: z.array(z.tuple([text, text])),
        of: z.enum(['all', 'most']),
        expect: z.enum(['better', 'worse', 'equal']).optional(),
        margin: number.optional(),
        from: number.optional(),
        to: number.optional(),
        because: text.optional(),
      }),
    ),
    seeds: numbers,
    capacity: z.enum(['train', 'eval', 'none']),
    arms: z.record(text, text),
  }),
  sha256: text,
  at: z.iso.datetime(),
  ended: z.int().nonnegative(),
  rules: z.int().optional(),
})

const header = z.looseObject({ name: text.optional(), machines: z.array(text).optional() })

/** The schemas by the part of the file that they describe. */
export const schemas = {
  contents: header,
  record: z.discriminatedUnion('status', [finished, failed]),
  timing,
  specialisation,
  registration,
} as const

/** The first field with a wrong type, such as `heldOut.loss: "4" (expected a number)`; null if all types are right. */
export function problemIn(kind: keyof typeof schemas, value: unknown): string | null {
  const [issue] = schemas[kind].safeParse(value).error?.issues ?? []
  if (!issue) return null
  const found = issue.path.reduce<unknown>((below, key) => (below as Record<PropertyKey, unknown>)?.[key], value)
  const field = issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''
  const expected = issue.code === 'invalid_union' ? 'expected finished or failed' : expectationOf(issue)
  return `${field}${formatValue(found)} (${expected})`
}
