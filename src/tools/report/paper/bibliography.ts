/** The sources of a report as BibTeX: the study itself, M6-T, and every paper of arXiv that the report names. */
import type { Report } from '../report.ts'
import { texText } from './tex-text.ts'

/** What identifies a study in a bibliography, in addition to its title and its command. */
export interface StudyCitation {
  /** Version of Choir that wrote the report. */
  readonly version: string
  /** SHA-256 of the file of results, in hexadecimal; absent if there is no such file. */
  readonly hash?: string
  /** Day of the report. */
  readonly date: Date
}

interface Source {
  readonly key: string
  readonly authors: string
  readonly title: string
}

/** The paper whose questions Choir was written for; every bibliography has it. */
const M6T = '2105.15082'

/** Papers that built-in studies and laws cite, by their number at arXiv. */
const sources: Readonly<Record<string, Source>> = {
  [M6T]: {
    key: 'yang2021m6t',
    authors:
      'Yang, An and Lin, Junyang and Men, Rui and Zhou, Chang and Jiang, Le and Jia, Xianyan and Wang, Ang and Zhang, Jie and Wang, Jiamang and Li, Yong and Zhang, Di and Lin, Wei and Qu, Lin and Zhou, Jingren and Yang, Hongxia',
    title: '{M6-T}: Exploring Sparse Expert Models and Beyond',
  },
  '2502.05172': {
    key: 'ludziejewski2025joint',
    authors:
      "Ludziejewski, Jan and Pi\\'{o}ro, Maciej and Krajewski, Jakub and Stefaniak, Maciej and Krutul, Micha\\l{} and Ma\\l{}a\\'{s}nicki, Jan and Cygan, Marek and Sankowski, Piotr and Adamczewski, Kamil and Mi\\l{}o\\'{s}, Piotr and Jaszczur, Sebastian",
    title: 'Joint {MoE} Scaling Laws: Mixture of Experts Can Be Memory Efficient',
  },
  '2202.01169': {
    key: 'clark2022unified',
    authors: 'Clark, Aidan and de las Casas, Diego and Guy, Aurelia and Mensch, Arthur and others',
    title: 'Unified Scaling Laws for Routed Language Models',
  },
  '2101.03961': {
    key: 'fedus2021switch',
    authors: 'Fedus, William and Zoph, Barret and Shazeer, Noam',
    title: '{Switch} Transformers: Scaling to Trillion Parameter Models with Simple and Efficient Sparsity',
  },
  '2202.08906': {
    key: 'zoph2022stmoe',
    authors:
      'Zoph, Barret and Bello, Irwan and Kumar, Sameer and Du, Nan and Huang, Yanping and Dean, Jeff and Shazeer, Noam and Fedus, William',
    title: '{ST-MoE}: Designing Stable and Transferable Sparse Expert Models',
  },
  '2409.02060': {
    key: 'muennighoff2024olmoe',
    authors: 'Muennighoff, Niklas and Soldaini, Luca and Groeneveld, Dirk and others',
    title: '{OLMoE}: Open Mixture-of-Experts Language Models',
  },
  '2605.11689': {
    key: 'li2026slicing',
    authors: 'Li, Margaret and Kudugunta, Sneha and Rothermel, Danielle and Zettlemoyer, Luke',
    title: 'Slicing and Dicing: Configuring Optimal Mixtures of Experts',
  },
}

export function bibliography(report: Report, study: StudyCitation): string {
  return [studyEntry(report, study), ...[...new Set([M6T, ...namedIn(report)])].map(sourceEntry)].join('\n')
}

/** The numbers of arXiv, year and month first, in the texts of a report; its numbers are no texts. */
function namedIn(report: Report): string[] {
  const texts: string[] = []
  JSON.stringify(report, (_, value: unknown) => {
    if (typeof value === 'string') texts.push(value)
    return value
  })
  const ids = /(?<![\w+−]|\d\.)\d\d(?:0[1-9]|1[0-2])\.\d{4,5}(?!\d|\.\d)/g
  return texts.flatMap((text) => text.match(ids) ?? [])
}

/** Text for a field of an entry, in which BibTeX counts every brace, also after a backslash. */
const bibText = (text: string): string =>
  texText(text).replaceAll('\\{', '\\textbraceleft{}').replaceAll('\\}', '\\textbraceright{}')

function studyEntry({ title, command }: Report, { version, hash, date }: StudyCitation): string {
  const day = date.toISOString().slice(0, 10)
  return entry('study', {
    key: 'Choir',
    title: `{${bibText(title)}}`,
    howpublished: `Study made with Choir ${texText(version)} by \\texttt{${bibText(command)}}`,
    year: day.slice(0, 4),
    note: `Report of ${day}${hash === undefined ? '' : `; SHA-256 of the results: \\texttt{${hash}}`}`,
  })
}

function sourceEntry(id: string): string {
  const source = sources[id]
  return entry(source?.key ?? `arxiv${id}`, {
    ...(source ? { author: source.authors, title: source.title } : { key: `arXiv:${id}`, title: `{arXiv:${id}}` }),
    year: `20${id.slice(0, 2)}`,
    eprint: id,
    archivePrefix: 'arXiv',
    howpublished: `arXiv:${id}`,
    url: `https://arxiv.org/abs/${id}`,
  })
}

const entry = (key: string, fields: Readonly<Record<string, string>>): string =>
  `@misc{${key},\n${Object.entries(fields)
    .map(([name, value]) => `  ${name} = {${value}},\n`)
    .join('')}}\n`
