/**
 * What do seeds have in common that gain more? For each comparison with a dense model in a study: Pearson's correlation
 * over the seeds between the entropy of a layer's router at the end of the training (the last window of steps in the
 * results) and the loss, and the gain over the dense run of the same seed. Layers count from 0.
 *
 *   npx tsx bench/studies/seeds.ts docs/results/seeds
 *
 * DIR has the study.yaml and the results.json.gz of a study.
 */
import { Command } from 'commander'
import { UsageError } from '../../src/core/errors.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import type { Runs } from '../../src/tools/study/analysis/runs.ts'
import type { Contrast } from '../../src/tools/study/contract.ts'
import { type Correlation, pearson } from '../../src/tools/study/statistics.ts'
import { runCommand, tableText } from '../support/command.ts'
import { studyRuns } from '../support/study-runs.ts'

const columns = ['arm', 'steps', 'seeds', 'layer', 'entropy and loss', 'entropy and gain']

const correlation = (found: Correlation | null): string =>
  found === null
    ? ''
    : `${fixed(found.r, 2)}${found.interval ? ` (${found.interval.map((end) => fixed(end, 2)).join(' to ')})` : ''}`

/** A row for each layer of the arm. */
function rowsOf(runs: Runs, contrast: Contrast): string[][] {
  const pairs = runs.pairs(contrast)
  const [first] = pairs
  if (!first || pairs.length < 3 || first.baseline.config.model.moe !== null) return []
  const losses = pairs.map(({ arm }) => runs.lossOf(arm))
  const gains = runs.differences(contrast).map((difference) => -difference)
  return first.arm.layers.map(({ layer, module }, i) => {
    const entropies = pairs.map(({ arm }) => arm.layers[i]?.entropy.at(-1) ?? Number.NaN)
    return [
      contrast.arm,
      String(first.arm.config.train.steps),
      String(pairs.length),
      `${layer} ${module}`,
      correlation(pearson(entropies, losses)),
      correlation(pearson(entropies, gains)),
    ]
  })
}

await runCommand(
  new Command('npx tsx bench/studies/seeds.ts')
    .description('Correlates the entropies of routers with the losses of their seeds.')
    .argument('<dir>', 'folder of a study')
    .action(async (directory: string) => {
      const all = await studyRuns(directory)
      const contrasts = all.results.questions.flatMap((question) => ('contrasts' in question ? question.contrasts : []))
      const rows = all.shares.flatMap((share) =>
        contrasts.flatMap((contrast) => rowsOf(all.withBasis({ share }), contrast)),
      )
      if (rows.length === 0)
        throw new UsageError(
          `${directory} has no comparison with a dense model (expected one with at least three seeds)`,
        )
      process.stdout.write(tableText([columns, ...rows], 'lrrlll'))
    }),
)
