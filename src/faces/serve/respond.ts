/** Answers a request: all of its texts at once, or in pieces as server-sent events. */
import { randomUUID } from 'node:crypto'
import type { Answer } from '../../use/infer/streams/answer.ts'
import type { TextEvent } from '../../use/infer/streams/contract.ts'
import { QueueFull } from '../../use/infer/streams/scheduler.ts'
import type { RatedToken } from '../../use/infer/streams/token-probabilities.ts'
import { ApiError } from './api-error.ts'
import { eventStream } from './event-stream.ts'
import { type Format, type Part, routingOf } from './formats.ts'
import type { Plan } from './plan.ts'
import type { Prompt } from './prompts.ts'

type End = Extract<TextEvent, { kind: 'end' }>

/** Called with the first part, and when the answer has ended, maybe more than once. */
export interface Progress {
  onFirst(): void
  onEnd(): void
}

/**
 * @param signal Aborted when the client leaves.
 * @throws ApiError if too many texts wait
 */
export async function respond(plan: Plan, format: Format, signal: AbortSignal, progress: Progress): Promise<Response> {
  const answer = opened(plan)
  const leave = () => {
    answer.leave()
    progress.onEnd()
  }
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  const head = {
    id: `${format.idPrefix}${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: plan.served.id,
  }
  if (plan.stream) {
    const chunks = chunksOf(plan, format, answer, { ...head, object: format.chunkObject }, progress)
    return eventStream(chunks, leave)
  }
  try {
    const { choices, usage } = await gather(plan, format, answer, progress)
    return Response.json({ ...head, object: format.object, choices, usage })
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

function opened({ served, requests }: Plan): Answer {
  try {
    return served.scheduler.open(requests)
  } catch (error) {
    throw error instanceof QueueFull ? queueFull() : error
  }
}

export const queueFull = (): ApiError =>
  new ApiError(429, 'Too many texts wait. Send the request again later, or start choir serve with a larger --queue.', {
    code: 'rate_limit_exceeded',
  })

/** The answer to a client who has left, which is only counted. */
export const gone = (): ApiError => new ApiError(400, 'The client has left.')

const promptOfText = ({ prompts, n }: Plan, index: number): Prompt => prompts[Math.floor(index / n)] as Prompt

const finishOf = ({ reason }: End): 'length' | 'stop' => (reason === 'length' ? 'length' : 'stop')

/** The routing of a text, if it was asked for. */
function extrasOf(plan: Plan, { index, routes }: End): object {
  if (!routes) return {}
  return { choir: { routing: routingOf(routes, promptOfText(plan, index), plan.served.model.tokenizer) } }
}

/** Counts tokens of a request. A prompt counts once, however many texts continue it. */
function usageOf({ prompts, n }: Plan, ends: readonly End[]) {
  const prompt = prompts.reduce((sum, { ids }) => sum + ids.length, 0)
  const completion = ends.reduce((sum, { tokens }) => sum + tokens, 0)
  // Tokens that one of the texts has read were not cached before the request.
  const cached = prompts.map((_, i) => {
    const reused = ends.filter(({ index }) => Math.floor(index / n) === i).map((end) => end.reused)
    return Math.min(...reused)
  })
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached.reduce((sum, tokens) => sum + tokens, 0) },
  }
}

async function gather(plan: Plan, format: Format, answer: Answer, progress: Progress) {
  const texts = plan.requests.map(() => ({
    text: '',
    tokens: [] as Part['tokens'][number][],
    rated: null as readonly RatedToken[] | null,
    end: null as End | null,
  }))
  let isFirst = true
  for await (const event of answer.events()) {
    if (isFirst) progress.onFirst()
    isFirst = false
    const of = texts[event.index] as (typeof texts)[number]
    if (event.kind === 'prompt') of.rated = event.tokens
    else if (event.kind === 'end') of.end = event
    else {
      of.text += event.text
      of.tokens.push(...event.tokens)
    }
  }
  const ends: End[] = []
  const choices = texts.map(({ rated, end, ...part }, index) => {
    if (!end) throw gone()
    ends.push(end)
    const choice = format.whole(promptOfText(plan, index), rated, part)
    return { index, ...choice, finish_reason: finishOf(end), ...extrasOf(plan, end) }
  })
  return { choices, usage: usageOf(plan, ends) }
}

/** The objects of a stream. */
async function* chunksOf(
  plan: Plan,
  format: Format,
  answer: Answer,
  head: object,
  progress: Progress,
): AsyncGenerator<object, void> {
  const chunk = (index: number, choice: object, finish: string | null = null, extras: object = {}) => ({
    ...head,
    choices: [{ index, ...choice, finish_reason: finish, ...extras }],
    ...(plan.usage && { usage: null }),
  })
  const begun = new Set<number>()
  const ends: End[] = []
  try {
    for await (const event of answer.events()) {
      if (begun.size === 0) progress.onFirst()
      const { index } = event
      const prompt = promptOfText(plan, index)
      if (!begun.has(index)) {
        begun.add(index)
        const first = format.begin(prompt, event.kind === 'prompt' ? event.tokens : null)
        if (first) yield chunk(index, first)
      }
      if (event.kind === 'piece') yield chunk(index, format.piece(prompt, event))
      if (event.kind !== 'end') continue
      ends.push(event)
      yield chunk(index, format.last(), finishOf(event), extrasOf(plan, event))
    }
    if (plan.usage) yield { ...head, choices: [], usage: usageOf(plan, ends) }
  } finally {
    answer.leave()
    progress.onEnd()
  }
}
