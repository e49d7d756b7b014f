/** `choir corpus`: training text from packages of Debian. */
import { type Command, Option } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { titledTable } from '../../../core/text/columns.ts'
import { bytes, grouped, plural } from '../../../core/text/numbers.ts'
import type { ListedRecipe } from '../../../tools/corpus/catalogue.ts'
import type { CorpusProgress, CorpusReport } from '../../../tools/corpus/create.ts'
import { labelled } from '../display/display.ts'
import { print } from '../display/print.ts'
import { type Colors, colorsFor, type Io, isTerminal, untilInterrupted } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption } from '../options.ts'

interface Flags {
  readonly out?: string
  readonly root?: string
  readonly download?: true
  readonly versions?: string
  readonly without?: readonly string[]
  readonly force?: true
  readonly json?: true
}

export function addCorpus(program: Command, io: Io): void {
  program
    .command('corpus')
    .summary('make training text from packages of Debian')
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
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir corpus
  choir corpus manuals --out corpora/manuals --download
  choir corpus manuals --out again --download --versions corpora/manuals/.corpus.json
  choir corpus kernel --out corpora/kernel
  choir train demo --data corpora/manuals

The text of a package stays under its licence: corpora/manuals/.summary.txt lists licences, sizes
and what was left out. The same versions of the packages give the same bytes.`,
    )
    .action((recipe: string | undefined, flags: Flags) =>
      recipe === undefined ? list(io, flags) : create(io, recipe, flags),
    )
}

async function list(io: Io, { out, root, without, download, versions, force, json }: Flags): Promise<void> {
  if (out !== undefined || without || download || versions !== undefined || force)
    throw new UsageError('missing recipe (see: choir corpus); for example: choir corpus manuals --out corpora/manuals')
  const recipes = await io.operations.listRecipes(root)
  if (json) return writeJson(io, { kind: 'recipes', recipes })
  const colors = colorsFor(io.stdout, io.env)
  for (const recipe of recipes) print(io, recipeText(recipe, colors))
  io.stdout.write('\n')
}

function recipeText({ name, about, packages }: ListedRecipe, colors: Colors): string {
  const rows = packages.map(({ name, domains, licence, found }) => [
    found ? found.name : name,
    found ? 'yes' : 'no',
    licence,
    domains.length > 3 ? `${domains.slice(0, 2).join(', ')} and ${domains.length - 2} more` : domains.join(', '),
  ])
  const there = packages.filter(({ found }) => found).length
  const title = `\n  ${colors.bold(name)}: ${about} (${there} of ${plural(packages.length, 'package')} installed)\n\n`
  return `${title}${titledTable(['package', 'installed', 'licence', 'files of the corpus'], rows, 'llll', colors).join('\n')}\n`
}

async function create(
  io: Io,
  recipe: string,
  { out, root, download, versions, without, force, json }: Flags,
): Promise<void> {
  if (out === undefined) throw new UsageError('missing --out (expected a new folder, such as corpora/manuals)')
  const begun = io.now()
  const progress = json ? undefined : new ProgressLine(io)
  const report = await untilInterrupted(io, (signal) =>
    io.operations
      .createCorpus(recipe, out, {
        ...(download ? { download } : root !== undefined && { root }),
        ...(versions !== undefined && { versions }),
        ...(without && { without }),
        ...(force && { force }),
        ...(progress && { onProgress: (event) => progress.show(event) }),
        signal,
      })
      .finally(() => progress?.end()),
  )
  const seconds = (io.now() - begun) / 1000
  if (json)
    return writeJson(io, {
      kind: 'corpus',
      folder: report.folder,
      unchanged: report.isUnchanged,
      seconds,
      ...(report.expectedSha256 !== undefined && { expectedSha256: report.expectedSha256 }),
      ...withoutKind(report),
    })
  print(io, reportText(report, out, seconds, colorsFor(io.stdout, io.env)))
}

const withoutKind = ({ manifest: { kind: _, ...manifest } }: CorpusReport) => manifest

/** Shows the progress: a line for each package or, on a terminal, one line that changes. */
class ProgressLine {
  private readonly io: Io
  private readonly isLive: boolean
  private last = ''

  constructor(io: Io) {
    this.io = io
    this.isLive = isTerminal(io.stderr, io.env)
  }

  show(event: CorpusProgress): void {
    const isNew = event.package !== this.last
    this.last = event.package
    const isEven = event.done % 100 === 0 || event.done === event.total
    if (!isNew && !(this.isLive && isEven)) return
    const text =
      event.kind === 'download'
        ? `downloading ${event.package} (${event.done + 1} of ${event.total})`
        : `reading ${event.package}: file ${grouped(event.done)} of ${grouped(event.total)}; ` +
          `${plural(event.documents, 'document')}, ${bytes(event.bytes)} until now`
    this.io.stderr.write(this.isLive ? `\r  ${text}\x1b[K` : `choir: ${text}\n`)
  }

  end(): void {
    if (this.isLive) this.io.stderr.write('\r\x1b[K')
  }
}

function reportText(
  { manifest, isUnchanged, expectedSha256 }: CorpusReport,
  out: string,
  seconds: number,
  colors: Colors,
): string {
  const { documents, domains, packages } = manifest
  const facts: (readonly [string, string])[] = [
    ['corpus', `${colors.bold(manifest.recipe)}, ${plural(documents, 'document')}, ${bytes(manifest.bytes)} of text`],
    ['packages', `${packages.length}${manifest.without.length > 0 ? `, without ${manifest.without.join(', ')}` : ''}`],
    ['SHA-256', `${manifest.sha256}${expectedSha256 === manifest.sha256 ? ', as expected' : ''}`],
    ...(expectedSha256 === undefined || expectedSha256 === manifest.sha256
      ? []
      : ([['expected', `${expectedSha256}: another version of Choir may clean text in another way`]] as const)),
    ['folder', isUnchanged ? `${out} has this corpus already, unchanged` : `${out}, in ${seconds.toFixed(0)} s`],
    ['details', `${out}/.summary.txt: licences, and what was left out`],
    ['train', `choir train demo --data ${out}`],
  ]
  const rows = domains.map((domain) => [domain.file, grouped(domain.documents), bytes(domain.bytes)])
  return `\n${labelled(facts, colors)}\n${titledTable(['file', 'documents', 'text'], rows, 'lrr', colors).join('\n')}\n\n`
}
