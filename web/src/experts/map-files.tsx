/** Saves a heat map: its numbers as CSV, and its picture with the names on its sides as PNG. */
import type { RefObject } from 'preact'
import { csvText, downloadCsv, savePng } from '../curves/download.ts'
import { CanvasSurface } from '../curves/drawing/surface.ts'
import type { Pixels } from './draw.ts'
import type { Frame } from './frame.ts'

interface MapFilesProps {
  readonly file: MapFile
  readonly frame: Frame
  /** The element with the map and the names on its sides. */
  readonly map: RefObject<HTMLElement | null>
  readonly pixels: Pixels
}

export function MapFiles({ file, frame, map, pixels }: MapFilesProps) {
  return (
    <p class="map-files">
      <button
        type="button"
        class="quiet"
        onClick={() => map.current && savePng(pictureOf(map.current, file, pixels), file.name)}
      >
        Save picture (PNG)
      </button>
      <button type="button" class="quiet" onClick={() => downloadCsv(file.name, mapCsv(frame, file))}>
        Save loads (CSV)
      </button>
    </p>
  )
}

/** Space above and below the map for the title and the note, and around it, in pixels of the page. */
const [TITLE, NOTE, EDGE] = [34, 44, 12]

/** The map as it is on the page, with a title and the meaning of its colours. */
function pictureOf(map: HTMLElement, { name, sides }: MapFile, { ratio, end }: Pixels): HTMLCanvasElement {
  const picture = document.createElement('canvas')
  const [context, shown] = [picture.getContext('2d'), map.querySelector('canvas')]
  if (!context || !shown) return picture
  const area = map.getBoundingClientRect()
  const [width, height] = [Math.ceil(area.width + 2 * EDGE), Math.ceil(area.height + TITLE + NOTE)]
  picture.width = Math.round(width * ratio)
  picture.height = Math.round(height * ratio)
  context.scale(ratio, ratio)
  const surface = new CanvasSurface(context)
  const { color, backgroundColor } = getComputedStyle(document.body)
  surface.box({ left: 0, top: 0, width, height }, backgroundColor)
  const small = { color, size: 11 }
  surface.text(name, EDGE, 22, { color, size: 14, anchor: 'start', bold: true })
  const place = (element: Element) => {
    const { left, top, width, height } = element.getBoundingClientRect()
    return { x: left - area.left + EDGE, y: top - area.top + TITLE, width, height }
  }
  const at = place(shown)
  context.drawImage(shown, at.x, at.y, at.width, at.height)
  for (const side of map.querySelectorAll('.heat-name')) {
    const { y, height } = place(side)
    surface.text(side.textContent ?? '', at.x - 8, y + height / 2 + 4, { ...small, anchor: 'end' })
  }
  for (const side of map.querySelectorAll('.heat-columns span')) {
    const { x, y } = place(side)
    surface.text(side.textContent ?? '', x, y + 11, { ...small, anchor: 'start' })
  }
  const note = `Rows: ${sides[0]}. Columns: ${sides[1]}. Orange: more tokens than the mean of the layer, to ${end}×. Blue: fewer.`
  surface.text(note, EDGE, TITLE + area.height + 26, { ...small, anchor: 'start' })
  return picture
}

/** What a file says about the cells of a map. */
export interface MapFile {
  /** The beginning of the name of the file, and the title of the picture. */
  readonly name: string
  /** What rows are, such as `layer`, and columns. */
  readonly sides: readonly [rows: string, columns: string]
  /** The row and the column of a cell in words or numbers, for the table. */
  readonly placeOf: (row: number, column: number) => readonly [row: string | number, column: string | number]
}

export function mapCsv(
  { rows, columns, values }: Frame,
  { sides, placeOf }: Pick<MapFile, 'sides' | 'placeOf'>,
): string {
  const lines: (string | number)[][] = [[...sides, 'tokens over mean']]
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const value = values[row * columns + column] ?? Number.NaN
      if (!Number.isNaN(value)) lines.push([...placeOf(row, column), value])
    }
  return csvText(lines)
}
