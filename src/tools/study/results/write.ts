/** Writes the files of a study for people and notebooks, next to its results.json.gz. */
import { readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { stringify } from 'yaml'
import { makeFolder, removeFile } from '../../../node/system/disk.ts'
import { lawText } from '../../law/law-file.ts'
import { renderHtml } from '../../report/html.ts'
import { renderMarkdown } from '../../report/markdown.ts'
import { analyse, type StudyReport } from '../analysis/analyse.ts'
import { lawFileOf } from '../analysis/map/study-law.ts'
import type { StudyResults } from '../contract.ts'
import { keepParts } from '../grid/part-files.ts'
import type { Specification } from '../grid/specification.ts'
import type { FigurePdf } from '../paper/figure-pdf.ts'
import { writePaper } from '../paper/write-paper.ts'
import { replaceShared } from '../sharing/replace-shared.ts'
import { curvesParquetOf, parquetOf } from './parquet.ts'
import { RESULTS_FILE } from './results-file.ts'

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
 * @param draw Draws figures as PDF; with it the folder `paper` is written too.
 */
export async function writeReport(
  results: StudyResults,
  specification: Specification,
  { directory, file: source }: { readonly directory: string; readonly file?: string },
  draw: FigurePdf | null = null,
): Promise<WrittenReport> {
  const file = (name: string) => join(directory, name)
  const report = analyse(results)
  const { markdown, figures } = renderMarkdown(report)
  const before = await readFile(file('report.md'), 'utf8').catch(() => '')
  await replaceShared(file('report.html'), renderHtml(report))
  await replaceShared(file('report.md'), markdown)
  await makeFolder(file('figures'))
  // Only figures that the previous report showed are removed: other files in the folder are not ours.
  for (const [, id = ''] of before.matchAll(/\(figures\/([\w-]+)\.svg\)/g))
    if (!Object.hasOwn(figures, id)) await rm(file(join('figures', `${id}.svg`)), { force: true })
  for (const [id, svg] of Object.entries(figures)) await replaceShared(file(join('figures', `${id}.svg`)), svg)
  await replaceShared(file('results.parquet'), parquetOf(results))
  await replaceShared(file('curves.parquet'), curvesParquetOf(results))
  const law = lawFileOf(results)
  if (law) await replaceShared(file('law.json'), lawText(law))
  else await removeFile(file('law.json'))
  // If the study was read from this study.yaml, do not overwrite it.
  if (source === undefined || resolve(source) !== resolve(file('study.yaml')))
    await replaceShared(file('study.yaml'), stringify(await keepParts(specification, directory)))
  const paper = draw && (await writePaper(report, { directory, results: file(RESULTS_FILE), draw }))
  const files = {
    html: file('report.html'),
    markdown: file('report.md'),
    results: file(RESULTS_FILE),
    parquet: file('results.parquet'),
    curves: file('curves.parquet'),
    ...(paper !== null && { paper }),
  }
  return { report, files }
}
