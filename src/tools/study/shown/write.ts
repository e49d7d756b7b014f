/** Writes the files of a study for people and notebooks, next to its results.json.gz. */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { stringify } from 'yaml'
import { sha256 } from '../../../core/sha256.ts'
import { version } from '../../../core/version.ts'
import { makeFolder, removeFile, replaceShared } from '../../../node/system/disk.ts'
import { lawText } from '../../law/law-file.ts'
import { renderHtml } from '../../report/page/html.ts'
import { renderMarkdown } from '../../report/page/markdown.ts'
import { COLUMN, paperOf } from '../../report/paper/paper.ts'
import type { Report } from '../../report/report.ts'
import { analyse, type StudyReport } from '../analysis/analyse.ts'
import { lawFileOf } from '../analysis/map/study-law.ts'
import type { StudyResults } from '../contract.ts'
import { keepParts } from '../grid/part-files.ts'
import { RESULTS_FILE } from '../results/results-file.ts'
import type { Specification } from '../specification.ts'
import { curvesParquetOf, parquetOf } from './parquet.ts'

export interface ReportFiles {
  readonly html: string
  readonly markdown: string
  /** The file with the records: see `results-file.ts`. */
  readonly results: string
  readonly parquet: string
  readonly curves: string
  /** The folder with the files for a paper, if they were asked for. */
  readonly paper?: string
}

/** A report that was written, and its files. */
export interface WrittenReport {
  readonly report: StudyReport
  readonly files: ReportFiles
}

/**
 * Writes report.html, report.md with its figures, results.parquet, curves.parquet, the specification as study.yaml, and
 * law.json if the study is a map with enough runs; otherwise an earlier law.json is removed.
 * @param isPaper Whether the folder `paper` is written too.
 */
export async function writeReport(
  results: StudyResults,
  specification: Specification,
  { directory, file: source }: { readonly directory: string; readonly file?: string },
  isPaper = false,
): Promise<WrittenReport> {
  const file = (name: string) => join(directory, name)
  const report = analyse(results)
  const { markdown, figures } = renderMarkdown(report)
  const shown = (await textIn(file('report.md'))).matchAll(/\(figures\/([\w-]+\.svg)\)/g)
  await replaceShared(file('report.html'), renderHtml(report))
  await replaceShared(file('report.md'), markdown)
  const drawings = Object.entries(figures).map(([id, svg]) => [`${id}.svg`, svg])
  await replaceFiles(
    file('figures'),
    Object.fromEntries(drawings),
    [...shown].map(([, name = '']) => name),
  )
  await replaceShared(file('results.parquet'), parquetOf(results))
  await replaceShared(file('curves.parquet'), curvesParquetOf(results))
  const law = lawFileOf(results)
  if (law) await replaceShared(file('law.json'), lawText(law))
  else await removeFile(file('law.json'))
  // If the study was read from this study.yaml, do not overwrite it.
  if (source === undefined || resolve(source) !== resolve(file('study.yaml')))
    await replaceShared(file('study.yaml'), stringify(await keepParts(specification, directory)))
  if (isPaper) await writePaper(report, file('paper'), file(RESULTS_FILE))
  const files = {
    html: file('report.html'),
    markdown: file('report.md'),
    results: file(RESULTS_FILE),
    parquet: file('results.parquet'),
    curves: file('curves.parquet'),
    ...(isPaper && { paper: file('paper') }),
  }
  return { report, files }
}

const textIn = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '')

/** Writes texts by name into a folder. Of earlier files only `ours` are removed, since others are those of the user. */
async function replaceFiles(
  folder: string,
  texts: Readonly<Record<string, string>>,
  ours: readonly string[],
): Promise<void> {
  await makeFolder(folder)
  for (const name of ours) if (!Object.hasOwn(texts, name)) await removeFile(join(folder, name))
  for (const [name, text] of Object.entries(texts)) await replaceShared(join(folder, name), text)
}

/** Writes the folder `paper`: tables as LaTeX and CSV, figures as SVG, the report as an article, and its sources. */
async function writePaper(report: Report, folder: string, results: string): Promise<void> {
  // The day without the time, so that files are the same if they are written twice.
  const date = new Date(new Date().toISOString().slice(0, 10))
  const stored = await readFile(results).catch(() => null)
  const texts = paperOf(report, { version: version(), date, ...(stored && { hash: await sha256(stored) }) })
  const before = (await textIn(join(folder, 'report.tex'))).matchAll(
    /\\(?:input|includegraphics)\{((?:table|figure)-[\w-]+)\}/g,
  )
  const ours = [...before].flatMap(([, name = '']) =>
    (name.startsWith('table') ? ['.tex', '.csv'] : ['.svg', COLUMN]).map((end) => `${name}${end}`),
  )
  await replaceFiles(folder, texts, ours)
}
