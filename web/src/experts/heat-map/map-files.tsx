/** Saves a heat map: its numbers as CSV, and its picture with the names on its sides as PNG. */
import type { RefObject } from 'preact'
import { downloadCsv, savePng } from '../../curves/series/download.ts'
import type { Frame } from './frame.ts'
import { type MapFile, mapCsv } from './map-csv.ts'

interface MapFilesProps {
  readonly file: MapFile
  readonly frame: Frame
  /** The element with the map and the names on its sides. */
  readonly map: RefObject<HTMLElement | null>
  readonly end: number
}

export function MapFiles({ file, frame, map, end }: MapFilesProps) {
  return (
    <p class="map-files">
      <button
        type="button"
        class="quiet"
        onClick={() => map.current && savePng(pictureOf(map.current, file, end), file.name)}
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
function pictureOf(map: HTMLElement, { name, sides }: MapFile, end: number): HTMLCanvasElement {
  const shown = map.querySelector('canvas')
  const picture = document.createElement('canvas')
  const context = picture.getContext('2d')
  if (!shown || !context) return picture
  const area = map.getBoundingClientRect()
  const ratio = shown.width / shown.getBoundingClientRect().width
  picture.width = Math.round((area.width + 2 * EDGE) * ratio)
  picture.height = Math.round((area.height + TITLE + NOTE) * ratio)
  context.scale(ratio, ratio)
  const { color, backgroundColor } = getComputedStyle(document.body)
  context.fillStyle = backgroundColor
  context.fillRect(0, 0, picture.width, picture.height)
  context.fillStyle = color
  const write = (text: string, x: number, y: number, size: number, weight = '') => {
    context.font = `${weight} ${size}px system-ui, sans-serif`
    context.fillText(text, x, y)
  }
  write(name, EDGE, 22, 14, '600')
  const place = (element: Element) => {
    const { left, top, height } = element.getBoundingClientRect()
    return [left - area.left + EDGE, top - area.top + TITLE, height] as const
  }
  const [x, y] = place(shown)
  const { width, height } = shown.getBoundingClientRect()
  context.drawImage(shown, x, y, width, height)
  context.textAlign = 'right'
  for (const side of map.querySelectorAll('.heat-name')) {
    const [, top, tall] = place(side)
    write(side.textContent ?? '', x - 8, top + tall / 2 + 4, 11)
  }
  context.textAlign = 'left'
  for (const side of map.querySelectorAll('.heat-columns span')) {
    const [left, top] = place(side)
    write(side.textContent ?? '', left, top + 11, 11)
  }
  const note = `Rows: ${sides[0]}. Columns: ${sides[1]}. Orange: more tokens than the mean of the layer, to ${end}×. Blue: fewer.`
  write(note, EDGE, TITLE + area.height + 26, 11)
  return picture
}
