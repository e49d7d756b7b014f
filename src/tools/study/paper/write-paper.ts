/** Writes the folder `paper` of a study: its tables as LaTeX and CSV, its figures as PDF, its text and its sources. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256 } from '../../../core/sha256.ts'
import { version } from '../../../core/version.ts'
import { makeFolder } from '../../../node/system/disk.ts'
import { COLUMN, paperOf } from '../../report/paper/paper.ts'
import type { Report } from '../../report/report.ts'
import { replaceShared } from '../sharing/replace-shared.ts'
import type { FigurePdf } from './figure-pdf.ts'

/**
 * @param results Path of the results file, whose hash the bibliography has.
 * @returns the folder. Files in it that the last report.tex inputs and this one does not are removed.
 */
export async function writePaper(
  report: Report,
  { directory, results, draw }: { readonly directory: string; readonly results: string; readonly draw: FigurePdf },
): Promise<string> {
  const folder = join(directory, 'paper')
  // The day without the time, so that files are the same if they are written twice.
  const date = new Date(new Date().toISOString().slice(0, 10))
  const stored = await readFile(results).catch(() => null)
  const { texts, figures } = paperOf(report, {
    version: version(),
    date,
    ...(stored && { hash: await sha256(stored) }),
  })
  await makeFolder(folder)
  // The names of the last report's files are read from its text: other files in the folder are not ours.
  const before = await readFile(join(folder, 'report.tex'), 'utf8').catch(() => '')
  const removed = [...before.matchAll(/\\(?:input|includegraphics)\{((?:table|figure)-[\w-]+)\}/g)]
    .flatMap(([, name = '']) =>
      name.startsWith('table') ? [`${name}.tex`, `${name}.csv`] : [`${name}.pdf`, `${name}${COLUMN}.pdf`],
    )
    .filter((name) => !Object.hasOwn(texts, name) && !Object.hasOwn(figures, name.replace(/\.pdf$/, '')))
  for (const name of removed) await rm(join(folder, name), { force: true })
  for (const [name, text] of Object.entries(texts)) await replaceShared(join(folder, name), text)
  for (const [name, svg] of Object.entries(figures))
    await replaceShared(join(folder, `${name}.pdf`), await draw(svg, date))
  return folder
}
