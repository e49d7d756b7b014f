/** The prompts of a request: texts or token ids, or the messages of a chat, as tokens. */
import { isFields } from '../../core/config/fields.ts'
import { formatValue } from '../../core/config/problems.ts'
import { grouped, plural } from '../../core/text/numbers.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { promptTokens } from '../../use/infer/continue-text.ts'
import type { ChatMessage } from '../../use/runs/chat/contract.ts'
import { ApiError } from './api-error.ts'
import { limits } from './request-fields.ts'

/** What the model reads first. */
export interface Prompt {
  readonly ids: readonly number[]
  /** Number of tokens before the text of the prompt: the begin token of the model. */
  readonly before: number
  readonly text: string
}

type Given = string | readonly number[]

const expected = 'expected text, a list of texts, a list of token ids, or a list of lists of token ids'

/** The prompts that a request lists. @throws ApiError if the field is none of the four forms */
export function givenPrompts(prompt: unknown): Given[] {
  const refuse = (value: unknown) =>
    new ApiError(400, `invalid prompt: ${formatValue(value)} (${expected})`, { param: 'prompt' })
  if (prompt === undefined || prompt === null) return ['']
  if (typeof prompt === 'string') return [prompt]
  if (!Array.isArray(prompt)) throw refuse(prompt)
  if (prompt.length === 0) throw refuse(prompt)
  if (typeof prompt[0] === 'number') return [idsOf(prompt, refuse)]
  if (prompt.length > limits.texts)
    throw new ApiError(
      400,
      `invalid prompt: a list of ${grouped(prompt.length)} prompts (expected at most ${limits.texts})`,
      { param: 'prompt' },
    )
  return prompt.map((each) => {
    if (typeof each === 'string') return each
    if (!Array.isArray(each) || each.length === 0) throw refuse(each)
    return idsOf(each, refuse)
  })
}

function idsOf(ids: readonly unknown[], refuse: (value: unknown) => ApiError): readonly number[] {
  for (const id of ids) if (!Number.isSafeInteger(id) || (id as number) < 0) throw refuse(id)
  return ids as readonly number[]
}

/**
 * The tokens of a prompt. A text follows the begin token of the model, as in `choir generate`; token ids are read as
 * they are.
 * @param sequence Number of tokens that the context of the model has.
 * @throws ApiError if the prompt is longer than the context, or an id is not a token
 */
export async function promptOf(given: Given, tokenizer: Tokenizer, sequence: number): Promise<Prompt> {
  if (typeof given === 'string') {
    expectShort(given, tokenizer, sequence)
    const ids = await promptTokens(tokenizer, { prompt: given }, sequence)
    const before = tokenizer.rules.begin !== null || given === '' ? 1 : 0
    expectFits(ids.length, sequence, 'prompt')
    return { ids, before, text: given }
  }
  expectFits(given.length, sequence, 'prompt')
  const unknown = given.find((id) => id >= tokenizer.vocabulary)
  if (unknown !== undefined)
    throw new ApiError(400, `invalid prompt: ${unknown} (expected token ids below ${tokenizer.vocabulary})`, {
      param: 'prompt',
    })
  return { ids: given, before: 0, text: tokenizer.decode(given) }
}

/** The tokens of a rendered chat, which has begin tokens of its own. */
export async function chatPrompt(text: string, tokenizer: Tokenizer, sequence: number): Promise<Prompt> {
  expectShort(text, tokenizer, sequence)
  const ids = await promptTokens(tokenizer, { prompt: text, isWhole: true }, Number.POSITIVE_INFINITY)
  expectFits(ids.length, sequence, 'messages')
  return { ids, before: 0, text }
}

/** Refuses a text that cannot fit, before it is tokenized. A normalizer may drop some of its characters. */
function expectShort(text: string, tokenizer: Tokenizer, sequence: number): void {
  if (text.length <= sequence) return
  let longest = 1
  for (let id = 0; id < tokenizer.vocabulary; id++)
    longest = Math.max(longest, tokenizer.bytesOf[id] ?? 0, tokenizer.tokenOf(id)?.length ?? 0)
  if (text.length > 4 * sequence * longest) throw tooLong(`${grouped(text.length)} characters`, sequence, 'prompt')
}

function expectFits(tokens: number, sequence: number, param: string): void {
  if (tokens > sequence) throw tooLong(plural(tokens, 'token'), sequence, param)
}

const tooLong = (size: string, sequence: number, param: string): ApiError =>
  new ApiError(
    400,
    `the ${param} has ${size}, and the context of the model has ${plural(sequence, 'token')} (send less text)`,
    { param, code: 'context_length_exceeded' },
  )

/**
 * The messages of a chat. A content is text, or a list of parts that are texts.
 * @throws ApiError naming the message at fault
 */
export function messagesOf(messages: unknown): ChatMessage[] {
  const form = 'expected { "role": "user", "content": "Hello" }'
  const refuse = (where: string, value: unknown) =>
    new ApiError(400, `invalid ${where}: ${formatValue(value)} (${form})`, { param: where })
  if (!Array.isArray(messages) || messages.length === 0) throw refuse('messages', messages)
  if (messages.length > limits.messages)
    throw new ApiError(
      400,
      `invalid messages: ${grouped(messages.length)} messages (expected at most ${limits.messages})`,
      { param: 'messages' },
    )
  return messages.map((message: unknown, i) => {
    const where = `messages[${i}]`
    if (!isFields(message)) throw refuse(where, message)
    const { role, content, ...others } = message
    const text = contentOf(content)
    if (typeof role !== 'string' || role === '' || text === null) throw refuse(where, message)
    const [other] = Object.keys(others)
    if (other !== undefined)
      throw new ApiError(400, `unknown field ${where}.${other.slice(0, 60)} (accepted: role, content)`, {
        param: `${where}.${other.slice(0, 60)}`,
      })
    // OpenAI's newer name; the templates of models know the older one.
    return { role: role === 'developer' ? 'system' : role, content: text }
  })
}

function contentOf(content: unknown): string | null {
  if (typeof content === 'string') return content
  if (!Array.isArray(content) || content.length > limits.messages) return null
  const isText = (part: unknown): part is { text: string } =>
    isFields(part) && part.type === 'text' && typeof part.text === 'string'
  return content.every(isText) ? content.map(({ text }) => text).join('') : null
}
