/** What a request comes to: its prompts and texts, and the limits on them. */
import { randomInt } from 'node:crypto'
import { grouped } from '../../core/text/numbers.ts'
import type { TextSchema } from '../../use/infer/json/text-schema.ts'
import type { TextRequest } from '../../use/infer/streams/contract.ts'
import { ApiError } from './api-error.ts'
import type { Prompt } from './prompts.ts'
import { type CommonFields, limits } from './request-fields.ts'
import type { ServedModel } from './served-model.ts'

/** The texts of a request. Text p · n + i is continuation i of prompt p. */
export interface Plan {
  readonly served: ServedModel
  readonly prompts: readonly Prompt[]
  readonly n: number
  readonly requests: readonly TextRequest[]
  readonly stream: boolean
  /** Whether a stream ends with the number of tokens. */
  readonly usage: boolean
}

interface Wishes {
  /** Maximum number of tokens of a text. */
  readonly tokens: number
  readonly top: number | null
  readonly ratesPrompt: boolean
  readonly schema: TextSchema | null
}

/** @throws ApiError if the request is larger than a limit */
export function planOf(served: ServedModel, prompts: readonly Prompt[], fields: CommonFields, wishes: Wishes): Plan {
  const { tokens, top, ratesPrompt, schema } = wishes
  const n = fields.n ?? 1
  const texts = prompts.length * n
  if (texts > limits.texts)
    throw new ApiError(
      400,
      `invalid n: ${n} for ${prompts.length} prompts gives ${texts} texts (expected at most ${limits.texts})`,
      { param: 'n' },
    )
  const stop = typeof fields.stop === 'string' ? [fields.stop] : (fields.stop ?? [])
  if (stop.includes('')) throw new ApiError(400, 'invalid stop: "" (expected text)', { param: 'stop' })
  const routes = fields.choir?.routing ?? false
  if (routes && served.choicesPerToken === 0)
    throw new ApiError(400, 'invalid choir.routing: true (the model is dense, and routes nothing)', {
      param: 'choir.routing',
    })
  const read = n * prompts.reduce((sum, { ids }) => sum + ids.length, 0)
  const written = texts * tokens
  expectAtMost(written, limits.allTokens, 'max_tokens', 'tokens in all texts')
  if (top !== null)
    expectAtMost((written + (ratesPrompt ? read : 0)) * (1 + top), limits.details, 'logprobs', 'log-probabilities')
  if (routes) expectAtMost((written + read) * served.choicesPerToken, limits.details, 'choir.routing', 'experts')
  const seed = fields.seed ?? randomInt(2 ** 32)
  const requests = prompts.flatMap(({ ids }) =>
    Array.from({ length: n }, (_, i): TextRequest => {
      return {
        prompt: ids,
        tokens,
        seed: seed + i,
        stop,
        schema,
        temperature: fields.temperature ?? 1,
        topP: fields.top_p ?? 1,
        topK: fields.top_k ?? 0,
        top,
        ratesPrompt,
        routes,
      }
    }),
  )
  const usage = fields.stream_options?.include_usage ?? false
  return { served, prompts, n, requests, stream: fields.stream ?? false, usage }
}

function expectAtMost(count: number, most: number, param: string, what: string): void {
  if (count <= most) return
  throw new ApiError(
    400,
    `invalid ${param}: the request asks for up to ${grouped(count)} ${what} (expected at most ${grouped(most)}; ` +
      'choose a smaller max_tokens, or send several requests)',
    { param },
  )
}
