/**
 * A report in the files that a paper needs: every table as LaTeX and CSV, the report as LaTeX, its sources as BibTeX, and
 * every figure as SVG.
 */
import type { Block } from '../blocks.ts'
import { COLUMN_MARGIN, widths } from '../figures/body.ts'
import { standaloneSvg } from '../figures/drawing.ts'
import type { Report } from '../report.ts'
import { uniqueNames } from '../unique-names.ts'
import { bibliography, type StudyCitation } from './bibliography.ts'
import { csvOf } from './csv.ts'
import { type PaperBlock, texReport } from './tex-report.ts'
import { texOf } from './tex-table.ts'

/** End of the name of a figure that fits a column of a paper with two. */
export const COLUMN = '-column.svg'

/**
 * The texts of the files by name.
 *
 * Names do not depend on the order of a report, so that a paper that inputs a file keeps it: tables are named
 * `table-capacity-contrasts` by the id of their section and their own, figures `figure-capacity-forest`.
 */
export function paperOf(report: Report, study: StudyCitation): Record<string, string> {
  const texts: Record<string, string> = {}
  const name = uniqueNames()
  const add = (block: Block, section: string): PaperBlock => {
    const id = block.kind === 'figure' ? block.id : `${section} ${block.id ?? ''}`
    // An id without a letter of ASCII, such as a Chinese title, leaves nothing for the name.
    const file = name(`${block.kind} ${/[a-z0-9]/i.test(id.normalize('NFKD')) ? id : 'x'}`)
    if (block.kind === 'table') {
      texts[`${file}.tex`] = texOf(block)
      texts[`${file}.csv`] = csvOf(block)
    } else {
      texts[`${file}.svg`] = standaloneSvg(block, file, widths.paper)
      texts[`${file}${COLUMN}`] = standaloneSvg(block, file, widths.column, COLUMN_MARGIN)
    }
    return { file, block }
  }
  const sections = report.sections.map((section) => ({
    section,
    lead: section.lead && add(section.lead, section.id),
    blocks: section.blocks.map((block) => add(block, section.id)),
  }))
  texts['report.tex'] = texReport(report, sections, study.date)
  texts['report.bib'] = bibliography(report, study)
  return texts
}
