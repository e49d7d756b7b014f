/**
 * Compares generation by Choir and by llama.cpp from the same GGUF file. The programs take turns. In a turn a new process
 * loads the file and generates a first token, and then a text.
 *
 * A file of 8 bits is computed with `--weights int8`, a file of 4 bits with `int4`, and so on, so both programs read about
 * as many bytes for a token. The speeds of llama.cpp are by its own clock, which leaves out sampling and the JavaScript of
 * its package. Choir's speeds have both.
 */
import { median, sumOf } from '../../src/core/averages.ts'
import { RunError } from '../../src/core/errors.ts'
import { randomFor } from '../../src/core/random.ts'
import { fixed, plural, significant } from '../../src/core/text/numbers.ts'
import type { WeightFormat } from '../../src/use/infer/quantized/weight-format.ts'
import { type LlamaCppInfo, type OwnTimes, startLlamaCpp } from '../peers/llama-cpp.ts'
import { startChoir } from '../support/choir.ts'
import { tableText } from '../support/command.ts'
import type { Generated, GenerationProcess, GeneratorInfo, Together } from '../support/generation-process.ts'
import { using } from '../support/line-process.ts'
import { today } from '../support/results.ts'
import type { GgufModel } from './gguf-model.ts'

/** Medians over the turns. */
export interface Measures {
  /** Rate of the tokens after the first. */
  readonly tokensPerSecond: number
  /** Tokens of the prompt, divided by the time until the first token. */
  readonly promptPerSecond: number
  /** Peak resident memory. Pages of a file that is mapped into memory count. */
  readonly peakMiB: number
  /** Time from the order to load the file until the first token after a prompt of one token. */
  readonly firstTokenSeconds: number
}

export interface LlamaCppRow {
  readonly model: string
  readonly weights: WeightFormat
  readonly threads: number
  readonly date: string
  readonly prompt: number
  readonly tokens: number
  readonly turns: number
  readonly choir: Measures & { readonly provider: string }
  readonly llama: Measures &
    Pick<LlamaCppInfo, 'package' | 'release' | 'kernels'> & {
      /** Tokens per second with sampling and with the JavaScript of the package. */
      readonly withJavaScript: number
    }
  /** Choir's measures divided by llama.cpp's. */
  readonly ratio: Measures
  /** For each turn, with how many equal tokens the texts of both programs begin. */
  readonly sameTokens: readonly number[]
}

/** Medians of several texts that are generated at once. */
export interface StreamsRow
  extends Pick<LlamaCppRow, 'model' | 'weights' | 'threads' | 'date' | 'prompt' | 'tokens' | 'turns'> {
  readonly streams: number
  readonly choir: Together
  readonly llama: Together
  readonly ratio: Together
}

/** Compares `streams` texts at once; both speeds are of the whole program, with sampling and JavaScript. */
export async function compareStreams(
  { path, name, weights, vocabulary, sequence }: GgufModel,
  streams: number,
  { threads, prompt: length, tokens, turns }: CompareOptions,
): Promise<StreamsRow> {
  const random = randomFor(0, 'benchmark')
  const sides: { choir: Together[]; llama: Together[] } = { choir: [], llama: [] }
  for (let turn = 0; turn <= turns; turn++) {
    const prompts = Array.from({ length: streams }, () => Array.from({ length }, () => random.integer(vocabulary)))
    const run = async (child: Pick<GenerationProcess<GeneratorInfo, Generated>, 'together'>) => {
      await child.together(WARM_UP, prompts)
      return child.together(tokens, prompts)
    }
    const choir = await using(startChoir(path, weights, threads, streams), run)
    const llama = await using(startLlamaCpp(path, { threads, sequence, streams }), run)
    // The first turn is not counted, as above.
    if (turn === 0) continue
    sides.choir.push(choir)
    sides.llama.push(llama)
  }
  const medianOf = (of: readonly Together[], field: keyof Together) => median(of.map((each) => each[field]))
  const by = (value: (field: keyof Together) => number): Together => {
    return { tokensPerSecond: value('tokensPerSecond'), peakMiB: value('peakMiB') }
  }
  return {
    ...{ model: name, weights, threads, date: today(), prompt: length, tokens, turns, streams },
    choir: by((field) => medianOf(sides.choir, field)),
    llama: by((field) => medianOf(sides.llama, field)),
    ratio: by((field) => medianOf(sides.choir, field) / medianOf(sides.llama, field)),
  }
}

export function reportStreams(rows: readonly StreamsRow[]): string {
  return rows
    .map(({ model, weights, streams, choir, llama, ratio, ...row }) => {
      const line = (title: string, field: keyof Together) => [
        ...[title, significant(choir[field]), significant(llama[field]), fixed(ratio[field], 2)],
      ]
      const table = [
        ['', `Choir, ${weights}`, 'llama.cpp', 'Choir / llama.cpp'],
        line('tokens/s, all texts', 'tokensPerSecond'),
        line('peak memory, MiB', 'peakMiB'),
      ]
      return `\n  ${model}, ${plural(streams, 'text')} at once${tableText(table, 'lrrr')}
  ${plural(row.threads, 'thread')}: ${row.tokens} tokens after ${row.prompt} in each text, ${plural(row.turns, 'turn')}; with sampling and JavaScript\n`
    })
    .join('')
}

export interface CompareOptions {
  readonly threads: number
  /** Tokens of the prompt, at least 2. */
  readonly prompt: number
  /** Tokens to generate, at least 2. */
  readonly tokens: number
  readonly turns: number
}

interface Turn<Info> {
  readonly info: Info
  readonly measures: Measures
  readonly text: Generated
}

/** Tokens that are generated after another prompt of the same length before the text that is timed. */
const WARM_UP = 4

/** @throws RunError if the programs compute different models, or on different numbers of threads */
export async function compareWithLlamaCpp(model: GgufModel, options: CompareOptions): Promise<LlamaCppRow> {
  const { threads, prompt: length, tokens, turns } = options
  const { path, name, weights, vocabulary, sequence } = model
  const random = randomFor(0, 'benchmark')
  const choir: Turn<GeneratorInfo & { readonly provider: string }>[] = []
  const llama: (Turn<LlamaCppInfo> & { readonly text: { readonly own: OwnTimes } })[] = []
  // The first turn is not counted: it brings the file into memory, and Choir writes the rounded weights beside it.
  for (let turn = 0; turn <= turns; turn++) {
    const prompt = Array.from({ length }, () => random.integer(vocabulary))
    const choirTurn = await using(startChoir(path, weights, threads), (child) => measure(child, prompt, options))
    const llamaTurn = await using(startLlamaCpp(path, { threads, sequence }), (child) =>
      measure(child, prompt, options),
    )
    if (turn === 0) continue
    choir.push(choirTurn)
    llama.push(llamaTurn)
  }
  const sameTokens = choir.map(({ text }, turn) => sameLength(text.tokens, (llama[turn] as Turn<unknown>).text.tokens))
  checkSame(model, sameTokens)
  const byOwnClock = llama.map(({ measures, text: { own } }) => ({
    ...measures,
    tokensPerSecond: (1000 * (tokens - 1)) / own.tokensMs,
    promptPerSecond: (1000 * length) / own.prefillMs,
  }))
  const sides = { choir: medians(choir.map(({ measures }) => measures)), llama: medians(byOwnClock) }
  const [{ provider }, { package: version, release, kernels }] = [lastOf(choir).info, lastOf(llama).info]
  const withJavaScript = median(llama.map(({ measures }) => measures.tokensPerSecond))
  return {
    ...{ model: name, weights, threads, date: today(), prompt: length, tokens, turns },
    choir: { ...sides.choir, provider },
    llama: { ...sides.llama, withJavaScript, package: version, release, kernels },
    ratio: measuresBy((measure) => sides.choir[measure] / sides.llama[measure]),
    sameTokens,
  }
}

async function measure<Info extends GeneratorInfo, Answer extends Generated>(
  child: GenerationProcess<Info, Answer>,
  prompt: readonly number[],
  { threads, tokens }: CompareOptions,
) {
  const { info } = child
  if (info.threads !== threads)
    throw new RunError(`a program computes on ${info.threads} threads (expected ${threads}), so nothing is compared`)
  const first = await child.generate(1, prompt.slice(0, 1))
  await child.generate(WARM_UP, prompt.toReversed())
  const text = await child.generate(tokens, prompt)
  const measures: Measures = {
    tokensPerSecond: (1000 * (tokens - 1)) / sumOf(text.msPerToken),
    promptPerSecond: (1000 * prompt.length) / text.prefillMs,
    peakMiB: text.peakMiB,
    firstTokenSeconds: (info.loadMs + first.prefillMs) / 1000,
  }
  return { info, measures, text }
}

const lastOf = <T>(list: readonly T[]): T => list.at(-1) as T

const measuresBy = (value: (measure: keyof Measures) => number): Measures => ({
  tokensPerSecond: value('tokensPerSecond'),
  promptPerSecond: value('promptPerSecond'),
  peakMiB: value('peakMiB'),
  firstTokenSeconds: value('firstTokenSeconds'),
})

const medians = (turns: readonly Measures[]): Measures =>
  measuresBy((measure) => median(turns.map((turn) => turn[measure])))

function sameLength(a: readonly number[], b: readonly number[]): number {
  const end = a.findIndex((token, i) => token !== b[i])
  return end < 0 ? a.length : end
}

/**
 * Checks that both programs compute the same model: with weights of at least 16 bits, most texts begin with the same token.
 * Rounding changes some later token, since random weights often give two tokens almost the same logit, and with fewer bits
 * perhaps the first: llama.cpp then rounds rows too, and Choir rounds the weights again.
 */
function checkSame({ name, weights }: GgufModel, sameTokens: readonly number[]): void {
  if (weights === 'int8' || weights === 'int4' || median(sameTokens) >= 1) return
  throw new RunError(
    `the programs continue the same prompts differently from the first token on (${name}), so they do not compute the same model`,
  )
}

export function report(rows: readonly LlamaCppRow[]): string {
  return rows.map(reportRow).join('')
}

function reportRow({ model, weights, choir, llama, ratio, ...row }: LlamaCppRow): string {
  const line = (title: string, measure: keyof Measures) => [
    ...[title, significant(choir[measure]), significant(llama[measure]), fixed(ratio[measure], 2)],
  ]
  const table = [
    ['', `Choir, ${weights}`, 'llama.cpp', 'Choir / llama.cpp'],
    line('tokens/s', 'tokensPerSecond'),
    line('tokens/s of the prompt', 'promptPerSecond'),
    line('peak memory, MiB', 'peakMiB'),
    line('first token, s', 'firstTokenSeconds'),
  ]
  const version = `${llama.release} (node-llama-cpp ${llama.package}, ${llama.kernels ?? 'kernels unknown'})`
  return `\n  ${model}${tableText(table, 'lrrr')}
  ${plural(row.threads, 'thread')}: ${row.tokens} tokens after ${row.prompt}, ${plural(row.turns, 'turn')}; Choir on ${choir.provider}, llama.cpp ${version}
  llama.cpp by its own clock; with sampling and JavaScript ${significant(llama.withJavaScript)} tokens/s
  tokens until the texts differ: ${row.sameTokens.join(', ')}
`
}
