/**
 * Makes a folder of training text from packages of Debian: documentation, manual pages, source code. The texts of our
 * own studies come from here; docs/corpora.md describes what is done to a text.
 *
 *   npx tsx bench/corpora/make.ts                                          recipes, packages, licences
 *   npx tsx bench/corpora/make.ts manuals --out corpora/manuals --download
 *   npx tsx bench/corpora/make.ts manuals --out again --download --versions corpora/manuals/.corpus.json
 */
import { existsSync } from 'node:fs'
import { Command, Option } from 'commander'
import pc from 'picocolors'
import { UsageError } from '../../src/core/errors.ts'
import { titledTable } from '../../src/core/text/columns.ts'
import { bytes, grouped, plural } from '../../src/core/text/numbers.ts'
import { labelled } from '../../src/faces/cli/display/display.ts'
import { listOption } from '../../src/faces/cli/options.ts'
import { runCommand } from '../support/command.ts'
import { type CorpusProgress, type CorpusReport, createCorpus } from './create.ts'
import { Packages } from './packages.ts'
import { packagesOf } from './recipe.ts'
import { manpagesLicence, packageNotes, recipes } from './recipes.ts'

interface Flags {
  readonly out?: string
  readonly root: string
  readonly download?: true
  readonly versions?: string
  readonly without?: readonly string[]
  readonly force?: true
}

/** Prints the recipes with their packages and licences, and which of the packages are there. */
function list({ out, root, without, download, versions, force }: Flags): void {
  if (out !== undefined || without || download || versions !== undefined || force)
    throw new UsageError('missing recipe, such as manuals')
  const packages = existsSync(root) ? new Packages(root) : undefined
  for (const recipe of recipes) {
    const rows = packagesOf(recipe).map((name) => {
      const found = packages?.find(name)
      const domains = [...new Set(recipe.parts.filter((part) => part.package === name).map(({ domain }) => domain))]
      return [
        found?.name ?? name,
        found ? 'yes' : 'no',
        packageNotes[name]?.licence ?? manpagesLicence,
        domains.length > 3 ? `${domains.slice(0, 2).join(', ')} and ${domains.length - 2} more` : domains.join(', '),
      ]
    })
    const there = rows.filter(([, isThere]) => isThere === 'yes').length
    process.stdout.write(
      `\n  ${pc.bold(recipe.name)}: ${recipe.about} (${there} of ${plural(rows.length, 'package')} installed)\n\n` +
        `${titledTable(['package', 'installed', 'licence', 'files of the corpus'], rows, 'llll', pc).join('\n')}\n`,
    )
  }
  process.stdout.write('\n')
}

async function make(recipe: string, { out, ...options }: Flags): Promise<void> {
  if (out === undefined) throw new UsageError('missing --out (expected a new folder, such as corpora/manuals)')
  const begun = performance.now()
  const progress = new ProgressLine()
  const interrupted = new AbortController()
  const interrupt = (): void => interrupted.abort()
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  try {
    const onProgress = (event: CorpusProgress): void => progress.show(event)
    const report = await createCorpus(recipe, out, { ...options, onProgress, signal: interrupted.signal })
    progress.end()
    process.stdout.write(reportText(report, out, (performance.now() - begun) / 1000))
  } catch (error) {
    progress.end()
    if (!interrupted.signal.aborted) throw error
    process.exitCode = 130
  }
}

/** Shows the progress: a line for each package or, on a terminal, one line that changes. */
class ProgressLine {
  private last = ''

  show(event: CorpusProgress): void {
    const isNew = event.package !== this.last
    this.last = event.package
    const isEven = event.done % 100 === 0 || event.done === event.total
    if (!isNew && !(process.stderr.isTTY && isEven)) return
    const text =
      event.kind === 'download'
        ? `downloading ${event.package} (${event.done + 1} of ${event.total})`
        : `reading ${event.package}: file ${grouped(event.done)} of ${grouped(event.total)}; ` +
          `${plural(event.documents, 'document')}, ${bytes(event.bytes)} until now`
    process.stderr.write(process.stderr.isTTY ? `\r  ${text}\x1b[K` : `${text}\n`)
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }
}

function reportText({ manifest, isUnchanged, expectedSha256 }: CorpusReport, out: string, seconds: number): string {
  const { recipe, documents, domains, packages, without, sha256 } = manifest
  const isExpected = expectedSha256 === sha256
  const facts: (readonly [string, string])[] = [
    ['corpus', `${pc.bold(recipe)}, ${plural(documents, 'document')}, ${bytes(manifest.bytes)} of text`],
    ['packages', `${packages.length}${without.length > 0 ? `, without ${without.join(', ')}` : ''}`],
    ['SHA-256', `${sha256}${isExpected ? ', as expected' : ''}`],
  ]
  if (expectedSha256 !== undefined && !isExpected)
    facts.push(['expected', `${expectedSha256}: another version of Choir may clean text in another way`])
  facts.push(
    ['folder', isUnchanged ? `${out} has this corpus already, unchanged` : `${out}, in ${seconds.toFixed(0)} s`],
    ['details', `${out}/.summary.txt: licences, and what was left out`],
    ['train', `choir train demo --data ${out}`],
  )
  const rows = domains.map((domain) => [domain.file, grouped(domain.documents), bytes(domain.bytes)])
  return `\n${labelled(facts, pc)}\n${titledTable(['file', 'documents', 'text'], rows, 'lrr', pc).join('\n')}\n\n`
}

await runCommand(
  new Command('make')
    .description(
      'Makes a folder of training text from the documentation, manual pages or source code in packages of Debian: ' +
        'without markup, menus and repetitions. Without a recipe it lists the recipes and their packages.',
    )
    .argument('[recipe]', 'manuals, kernel, languages or mixed')
    .option('--out <folder>', 'the new folder of the corpus')
    .option(
      '--root <folder>',
      'read packages below this folder: the root of a system, or one folder for each package',
      '/',
    )
    .addOption(
      new Option('--download', 'download the packages with apt-get for this build; needs no root').conflicts('root'),
    )
    .addOption(
      new Option(
        '--versions <file>',
        'with --download: the versions of an earlier corpus (its .corpus.json)',
      ).conflicts('root'),
    )
    .addOption(listOption('--without <package>', 'leave out a package; repeatable'))
    .option('--force', 'replace another corpus in the folder')
    .action((recipe: string | undefined, flags: Flags) => (recipe === undefined ? list(flags) : make(recipe, flags))),
)
