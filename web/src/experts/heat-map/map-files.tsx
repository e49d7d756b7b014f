/** Saves a heat map: its numbers as CSV, and its picture with the names on its sides as PNG and SVG. */
import type { RefObject } from 'preact'
import { csvText, downloadCsv, savePng, saveSvg } from '../../curves/download.ts'
import { CanvasSurface, type Surface, SvgSurface } from '../../curves/drawing/surface.ts'
import type { Frame } from './frame.ts'
import { paintCells } from './map-cells.ts'
import type { Pixels } from './pixels.ts'

interface MapFilesProps {
  readonly file: MapFile
  readonly frame: Frame
  /** The element with the map and the names on its sides. */
  readonly map: RefObject<HTMLElement | null>
  readonly pixels: Pixels
}

export function MapFiles({ file, frame, map, pixels }: MapFilesProps) {
  const canvasOf = () => map.current?.querySelector('canvas')
  const save = (saveAs: (map: HTMLElement, canvas: HTMLCanvasElement) => void) => {
    const canvas = canvasOf()
    if (map.current && canvas) saveAs(map.current, canvas)
  }
  const { ratio, end } = pixels
  return (
    <p class="map-files">
      <button
        type="button"
        class="quiet"
        onClick={() => save((whole, canvas) => savePng(pngOf(whole, canvas, file, ratio, end), file.name))}
      >
        Save picture (PNG)
      </button>
      <button
        type="button"
        class="quiet"
        onClick={() => save((whole, canvas) => saveSvg(svgOf(whole, canvas, file, frame, pixels), file.name))}
      >
        SVG
      </button>
      <button type="button" class="quiet" onClick={() => downloadCsv(file.name, mapCsv(frame, file))}>
        Save loads (CSV)
      </button>
    </p>
  )
}

/** Space above and below the map for the title and the note, and around it, in pixels of the page. */
const [TITLE, NOTE, EDGE] = [34, 44, 12]

function sizeOf(map: HTMLElement): { readonly width: number; readonly height: number } {
  const { width, height } = map.getBoundingClientRect()
  return { width: Math.ceil(width + 2 * EDGE), height: Math.ceil(height + TITLE + NOTE) }
}

function pngOf(
  map: HTMLElement,
  shown: HTMLCanvasElement,
  file: MapFile,
  ratio: number,
  end: number,
): HTMLCanvasElement {
  const picture = document.createElement('canvas')
  const context = picture.getContext('2d')
  if (!context) return picture
  const { width, height } = sizeOf(map)
  picture.width = Math.round(width * ratio)
  picture.height = Math.round(height * ratio)
  context.scale(ratio, ratio)
  paintPicture(new CanvasSurface(context), map, shown, file, end, (left, top) => {
    const area = shown.getBoundingClientRect()
    context.drawImage(shown, left, top, area.width, area.height)
  })
  return picture
}

function svgOf(map: HTMLElement, shown: HTMLCanvasElement, file: MapFile, frame: Frame, pixels: Pixels): string {
  const { width, height } = sizeOf(map)
  const surface = new SvgSurface(width, height)
  paintPicture(surface, map, shown, file, pixels.end, (left, top) => paintCells(surface, frame, pixels, left, top))
  return String(surface)
}

/** The map as it is on the page, with a title and the meaning of its colours. */
function paintPicture(
  surface: Surface,
  map: HTMLElement,
  shown: HTMLCanvasElement,
  { name, sides }: MapFile,
  end: number,
  paintMap: (left: number, top: number) => void,
): void {
  const area = map.getBoundingClientRect()
  const { color, backgroundColor } = getComputedStyle(document.body)
  surface.box({ left: 0, top: 0, ...sizeOf(map) }, backgroundColor)
  const small = { color, size: 11 }
  surface.text(name, EDGE, 22, { color, size: 14, anchor: 'start', bold: true })
  const place = (element: Element) => {
    const { left, top, height } = element.getBoundingClientRect()
    return [left - area.left + EDGE, top - area.top + TITLE, height] as const
  }
  const [x, y] = place(shown)
  paintMap(x, y)
  for (const side of map.querySelectorAll('.heat-name')) {
    const [, top, tall] = place(side)
    surface.text(side.textContent ?? '', x - 8, top + tall / 2 + 4, { ...small, anchor: 'end' })
  }
  for (const side of map.querySelectorAll('.heat-columns span')) {
    const [left, top] = place(side)
    surface.text(side.textContent ?? '', left, top + 11, { ...small, anchor: 'start' })
  }
  const note = `Rows: ${sides[0]}. Columns: ${sides[1]}. Orange: more tokens than the mean of the layer, to ${end}×. Blue: fewer.`
  surface.text(note, EDGE, TITLE + area.height + 26, { ...small, anchor: 'start' })
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
