/** Nonsensical configurations, as objects and as text. */
import fc from 'fast-check'
import { presets } from '../../src/core/config/presets.ts'
import { runSchema } from '../../src/core/config/run-config.ts'
import { changed } from './values.ts'

const whole = runSchema.parse(presets.tiny.config)

/** Configurations of `tiny` with a few other values or fields. */
export const anyConfig: fc.Arbitrary<unknown> = changed(whole)

/** Pieces of YAML that mean something in some order. */
const pieces = [
  'preset: tiny\n',
  'preset: dmeo\n',
  'model:\n',
  '  layers: 2\n',
  '  moe: null\n',
  '  moe:\n    k: 2\n',
  'train: { steps: 3 }\n',
  'train:\n  schedule:\n    learningRate: .inf\n',
  'data:\n  source: [a, b]\n',
  '- ',
  '? ',
  ': ',
  '&a ',
  '*a',
  '<<: *a\n',
  '!!js ',
  '!!int ',
  '!!binary ',
  '!foo ',
  '[',
  ']',
  '{',
  '}',
  ',',
  '"',
  "'",
  '|\n',
  '>-\n',
  '#',
  '---\n',
  '...\n',
  '%YAML 1.1\n',
  '\t',
  '\n',
  '  ',
  '\u0000',
  '\ufeff',
  '0x1F',
  '.nan',
  '1e999',
  '2024-01-01',
  '~',
  'a',
]

/** Texts that once ended in an error of the JavaScript engine, or were silently accepted. */
const seeds = [
  'a: &a [*a]',
  'model: &m\n  moe: *m\n',
  '['.repeat(20_000),
  '- '.repeat(20_000),
  '{"a":'.repeat(20_000),
  '__proto__:\n  layers: 2\n',
  '{"model": {"__proto__": {"layers": 2}}}',
  'train:\n  steps: !!js 5\n',
  `${'a'.repeat(5000)}: 1`,
  'model: null',
  '? [a]\n: 1',
]

export const anyYaml: fc.Arbitrary<string> = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(...seeds) },
  { weight: 4, arbitrary: fc.array(fc.constantFrom(...pieces), { maxLength: 25 }).map((parts) => parts.join('')) },
  { weight: 2, arbitrary: anyConfig.map((config) => JSON.stringify(config)) },
  { weight: 1, arbitrary: fc.string({ maxLength: 200 }) },
)
