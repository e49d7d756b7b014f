/** The pictures of docs/planner.md and docs/launch.md: their files and texts. */
import { parseHosts } from '../../../src/tools/launch/hosts.ts'
import { placeRanks } from '../../../src/tools/launch/layout.ts'
import { FILE_MARGIN, svgFile } from '../../../src/tools/report/figures/drawing.ts'
import { type Validation, validate } from '../accuracy/validation.ts'
import { launchBody, launchStyle } from './launch-figure.ts'
import { plannerBody, plannerStyle } from './planner-figure.ts'

/** Widths of files in pixels: a README on GitHub beside its sidebar, and the text of a page on a telephone. */
const widths = { '': 832, '-narrow': 358 } as const

/** The example of docs/launch.md: `--hosts a:4,b:4 --cores 8`, with `parallel.expert` 4 and 16 experts. */
export const example = {
  layout: placeRanks({ hosts: parseHosts('a:4,b:4'), cores: 8, expert: 4 }),
  expert: 4,
  experts: 16,
}

/** @returns files, relative to the repository, with their contents */
export function docsPictures(validation: Validation = validate()): { readonly file: string; readonly svg: string }[] {
  return Object.entries(widths).flatMap(([suffix, outer]) => {
    const width = outer - 2 * FILE_MARGIN
    const frame = (name: string, caption: string) => ({ name: `${name}${suffix}`, caption, width })
    return [
      {
        file: `docs/pictures/planner${suffix}.svg`,
        svg: svgFile(
          plannerBody(validation, width),
          frame('planner', 'Predicted over published step times, by system.'),
          plannerStyle,
        ),
      },
      {
        file: `docs/pictures/launch${suffix}.svg`,
        svg: svgFile(
          launchBody(example, width),
          frame('launch', 'Which rank runs where, and which experts it holds.'),
          launchStyle,
        ),
      },
    ]
  })
}
