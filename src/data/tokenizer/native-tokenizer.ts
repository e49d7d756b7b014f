/**
 * Wraps Hugging Face's own library, for tokenizers of any form (Unigram, WordPiece, other word patterns).
 *
 * Its Node binding encodes only asynchronously. For synchronous encoding (of a prompt) a worker thread
 * waits for the library and the calling thread waits for the worker: about 0.1 ms per text.
 */
import { createRequire } from 'node:module'
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import type * as Tokenizers from 'tokenizers'
import { UsageError } from '../../errors.ts'

const require = createRequire(import.meta.url)

/** Path of the library, for a thread or process that loads it. */
export const tokenizersPath = (): string => require.resolve('tokenizers')

export interface NativeTokenizer {
  encode(text: string): Int32Array
  /** Runs on all cores, off the JavaScript thread. */
  encodeBatch(texts: readonly string[]): Promise<Int32Array[]>
  /** Decodes a sequence of tokens. */
  decodeTokens(tokens: string[]): string
}

/** @throws UsageError naming `where` if the library refuses the tokenizer.json */
export function nativeTokenizer(json: string, where: string): NativeTokenizer {
  const { Tokenizer } = require('tokenizers') as typeof Tokenizers
  let tokenizer: Tokenizers.Tokenizer
  try {
    tokenizer = Tokenizer.fromString(json)
  } catch (error) {
    throw new UsageError(`${where} is not a Hugging Face tokenizer.json: ${(error as Error).message}`)
  }
  // The file may request padding or truncation; we cut windows ourselves.
  tokenizer.disablePadding()
  tokenizer.disableTruncation()
  const decoder = tokenizer.getDecoder()
  let encodeNow: ((text: string) => Int32Array) | undefined
  return {
    encode(text) {
      encodeNow ??= synchronousEncoder(json)
      return encodeNow(text)
    },
    async encodeBatch(texts) {
      const encodings = await tokenizer.encodeBatch([...texts], { addSpecialTokens: false })
      return encodings.map((encoding) => Int32Array.from(encoding.getIds()))
    },
    decodeTokens: (tokens) => (decoder ? decoder.decode(tokens) : tokens.join(' ')),
  }
}

/** Program of the worker; CommonJS as text, so that it works from sources and from a build. */
const workerProgram = `
const { workerData: { library, json, port, signal } } = require('node:worker_threads')
const tokenizer = require(library).Tokenizer.fromString(json)
tokenizer.disablePadding()
tokenizer.disableTruncation()
const done = new Int32Array(signal)
port.on('message', async (text) => {
  let answer
  try {
    const encoding = await tokenizer.encode(text, null, { addSpecialTokens: false })
    answer = { ids: Int32Array.from(encoding.getIds()) }
  } catch (error) {
    answer = { error: String(error) }
  }
  port.postMessage(answer)
  Atomics.store(done, 0, 1)
  Atomics.notify(done, 0)
})
`

function synchronousEncoder(json: string): (text: string) => Int32Array {
  const signal = new SharedArrayBuffer(4)
  const done = new Int32Array(signal)
  const { port1, port2 } = new MessageChannel()
  const worker = new Worker(workerProgram, {
    eval: true,
    workerData: { library: tokenizersPath(), json, port: port2, signal },
    transferList: [port2],
  })
  // Neither keeps the process alive.
  worker.unref()
  port1.unref()
  return (text) => {
    Atomics.store(done, 0, 0)
    port1.postMessage(text)
    if (Atomics.wait(done, 0, 0, 60_000) === 'timed-out')
      throw new Error('internal: the tokenizer worker does not answer')
    const answer = receiveMessageOnPort(port1)?.message as { ids?: Int32Array; error?: string }
    if (!answer.ids) throw new Error(`internal: the tokenizer refused a text: ${answer.error}`)
    return answer.ids
  }
}
