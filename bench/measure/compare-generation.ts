/**
 * Compares generation by Choir and by PyTorch, which take turns at one text each, in float32 with a key-value cache.
 *
 * Both take the likeliest token ("greedy"). With random weights such a text soon repeats itself, and so does its
 * choice of experts, whose weights may then stay in the processor's cache. Therefore Choir is also timed with sampling
 * as in `choir generate`: the text varies, and the time of sampling is included.
 */

import { type BenchmarkRouting, routingSets } from '../../src/core/config/presets.ts'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { expectDocumented, PyTorchGenerator } from '../peers/pytorch.ts'
import { tableText } from '../support/command.ts'
import { using } from '../support/line-process.ts'
import { Results, resultFile, shownPath, thisMachine, today } from '../support/results.ts'
import { peerShape, peerVariants } from './compare.ts'
import {
  GenerationBench,
  greedy,
  lengths,
  promptsOf,
  type Speed,
  sampled,
  speedOf,
  type TextLengths,
  type TimedText,
} from './generation.ts'

export interface GenerateOptions extends TextLengths {
  readonly shape: string
  readonly routings: readonly BenchmarkRouting[]
  readonly threads: number
  /** Number of texts to time. */
  readonly texts: number
  readonly out?: string
}

export interface GenerationRow {
  readonly shape: string
  readonly routing: BenchmarkRouting
  readonly threads: number
  readonly date: string
  readonly prompt: number
  readonly tokens: number
  readonly texts: number
  /** Speed of greedy generation in float32, as PyTorch's; `drawn` is the speed with sampling as in `choir generate`. */
  readonly choir: Speed & { readonly provider: string; readonly drawn: Speed }
  readonly pytorch: Speed & { readonly torch: string; readonly compiled: boolean }
  /** Choir's tokens per second divided by PyTorch's, both greedy. */
  readonly speedRatio: number
}

export const generateName = (shape: string): string => `generate-${shape}`

export async function compareGeneration(options: GenerateOptions): Promise<void> {
  const { shape, threads } = options
  const file = options.out ?? resultFile(generateName(shape), shape === 'tiny')
  const results = await Results.open<GenerationRow>(file, ({ routing }) => routing, thisMachine(options.threads))
  for (const routing of options.routings) {
    process.stderr.write(`  ${shape}, ${routing}, generation ...\n`)
    const config = await loadConfig(shape, [...routingSets(routing), `runtime.threads=${threads}`])
    await results.put(await measure(routing, config, options))
  }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

async function measure(routing: BenchmarkRouting, config: RunConfig, options: GenerateOptions): Promise<GenerationRow> {
  const { shape, threads, texts } = options
  const { prompt, tokens } = lengths(config, options)
  const { sequence: _, batch: __, ...size } = peerShape(config)
  return using(GenerationBench.open(config), (choir) =>
    using(PyTorchGenerator.start(size, peerVariants[routing], { threads }), async (peer) => {
      expectDocumented(peer.info, { threads, compiled: true })
      const sides: Record<'greedy' | 'drawn' | 'pytorch', TimedText[]> = { greedy: [], drawn: [], pytorch: [] }
      const nextPrompt = promptsOf(config, prompt)
      for (let text = 0; text <= texts; text++) {
        const ids = nextPrompt()
        sides.pytorch.push(await peer.generate(tokens, ids))
        sides.greedy.push(await choir.text(ids, tokens, greedy, text))
        sides.drawn.push(await choir.text(ids, tokens, sampled, text))
      }
      const { torch, compiled } = peer.info
      const [choirSpeed, pytorchSpeed] = [speedOf(sides.greedy), speedOf(sides.pytorch)]
      return {
        shape,
        routing,
        threads,
        date: today(),
        prompt,
        tokens,
        texts,
        choir: { provider: choir.runtime.provider, ...choirSpeed, drawn: speedOf(sides.drawn) },
        pytorch: { torch, compiled, ...pytorchSpeed },
        speedRatio: choirSpeed.tokensPerSecond / pytorchSpeed.tokensPerSecond,
      }
    }),
  )
}

function report(rows: readonly GenerationRow[]): string {
  const head = ['routing', 'Choir tokens/s', 'sampled', 'PyTorch tokens/s', 'speed ×', 'prompt ms', 'PyTorch prompt ms']
  const cells = rows.map(({ routing, choir, pytorch, speedRatio }) => [
    routing,
    fixed(choir.tokensPerSecond, 0),
    fixed(choir.drawn.tokensPerSecond, 0),
    fixed(pytorch.tokensPerSecond, 0),
    fixed(speedRatio, 2),
    fixed(choir.prefillMs, 1),
    fixed(pytorch.prefillMs, 1),
  ])
  const [first] = rows
  const sizes = first && `${first.tokens} tokens after ${first.prompt}, ${first.texts} texts`
  return `${tableText([head, ...cells], 'lrrrrrr')}
  ${sizes}, float32; both take the likeliest token.
  "sampled": Choir with temperature ${sampled.temperature}, top-k ${sampled.topK}, top-p ${sampled.topP}; not timed for PyTorch.
`
}
