/**
 * The recipes of make.ts, as tables. Packages have their names in Debian 13; sizes of the result are in
 * docs/corpora.md. A change here, or to a cleaner, that changes the text of a corpus counts up VERSION.
 */
import type { PackageNote, Part, Recipe } from './recipe.ts'

const VERSION = 1

export const packageNotes: Readonly<Record<string, PackageNote>> = {
  'linux-source-*': { known: 'linux-source-6.12', licence: 'GPL-2' },
  manpages: { licence: 'GPL-2+, Linux-man-pages-copyleft' },
  'manpages-dev': { licence: 'GPL-2+, Linux-man-pages-copyleft' },
  'rust-doc': { licence: 'MIT or Apache-2.0' },
  'python*-doc': { known: 'python3.13-doc', licence: 'PSF' },
  'perl-doc': { licence: 'GPL-1+ or Artistic' },
  'python-numpy-doc': { licence: 'BSD-3' },
  'python-scipy-doc': { licence: 'BSD-3' },
  'python-pandas-doc': { licence: 'BSD-3' },
  'maxima-doc': { licence: 'GPL-2+' },
  'r-doc-html': { licence: 'GPL-2+' },
  'apache2-doc': { licence: 'Apache-2.0' },
  'php-doc': { licence: 'CC-BY-3.0' },
  'nodejs-doc': { licence: 'MIT' },
  'python-django-doc': { licence: 'BSD-3' },
  'postgresql-doc-*': { known: 'postgresql-doc-17', licence: 'PostgreSQL' },
  'sqlite3-doc': { licence: 'public domain' },
  'python-sqlalchemy-doc': { licence: 'MIT' },
  'cppreference-doc-en-html': { licence: 'CC-BY-SA-3.0 or GFDL' },
  'erlang-doc': { licence: 'Apache-2.0' },
  'racket-doc': { licence: 'MIT or Apache-2.0' },
  'swi-prolog-doc': { licence: 'BSD-2' },
  'git-doc': { licence: 'GPL-2' },
  'debian-handbook': { licence: 'GPL-2+ or CC-BY-SA-3.0' },
  'debian-policy': { licence: 'GPL-2+' },
  'debian-reference-en': { licence: 'GPL-2+' },
  'developers-reference': { licence: 'GPL-2+' },
  'vim-runtime': { licence: 'Vim' },
  'libreoffice-help-en-us': { licence: 'MPL-2.0' },
  'gimp-help-en': { licence: 'GFDL' },
  'dict-gcide': { licence: 'GPL' },
  'dict-foldoc': { licence: 'GFDL' },
  'dict-jargon': { licence: 'public domain' },
  'manpages-ja': { licence: 'free, by page' },
  'manpages-ja-dev': { licence: 'free, by page' },
  'manpages-zh': { licence: 'GPL-2+ or GFDL, by page' },
  'manpages-tr': { licence: 'GPL' },
}

/** The project manpages-l10n, from which the other translations come. */
export const manpagesLicence = 'GPL-3+'

const linux = (domain: string, files: RegExp, folders: readonly string[], more: Partial<Part> = {}): Part => ({
  package: 'linux-source-*',
  archive: {
    file: /^usr\/src\/linux-source-[\d.]+\.tar\.xz$/,
    members: folders.map((folder) => `linux-source-*/${folder}`),
  },
  files,
  markup: 'text',
  domain,
  ...more,
})

const html = (domain: string, name: string, files: RegExp, except?: RegExp): Part => ({
  package: name,
  files,
  ...(except && { except }),
  markup: 'html',
  domain,
})

const manPart = (domain: string, name: string): Part => ({
  package: name,
  files: /^usr\/share\/man\/(?:[\w.@-]+\/)?man\d\w*\//,
  markup: 'man',
  domain,
})

/** Pages that Sphinx generates, such as indexes and search, which are no documents. */
const sphinxExtras =
  /\/(genindex|py-modindex|search|searchindex|contents|modindex)[^/]*\.html$|\/_(modules|sources|static|images|downloads)\//

const manuals: readonly Part[] = [
  linux('linux', /^Documentation\/.*\.(rst|txt)$/, ['Documentation'], {
    except: /^Documentation\/translations\//,
  }),
  manPart('man-pages', 'manpages'),
  manPart('man-pages', 'manpages-dev'),
  html(
    'rust',
    'rust-doc',
    /^usr\/share\/doc\/rust-doc\/html\/(std|book|reference|nomicon|rust-by-example|cargo|rustc|rustdoc|error_codes|edition-guide|style-guide|unstable-book|embedded-book|clippy)\/.*\.html$/,
    /\/(print|toc|all|SUMMARY)\.html$|\/std\/arch\/|\/std\/simd\//,
  ),
  html('python', 'python*-doc', /^usr\/share\/doc\/python[\d.]+\/html\/.*\.html$/, sphinxExtras),
  {
    package: 'perl-doc',
    files: /^usr\/share\/perl\/[\d.]+\/.*\.pod$/,
    except: /\/perltoc\.pod$/,
    markup: 'pod',
    domain: 'perl',
  },
  html('science', 'python-numpy-doc', /^usr\/share\/doc\/python-numpy\/html\/.*\.html$/, sphinxExtras),
  html('science', 'python-scipy-doc', /^usr\/share\/doc\/python-scipy-doc\/html\/.*\.html$/, sphinxExtras),
  html('science', 'python-pandas-doc', /^usr\/share\/doc\/python-pandas-doc\/html\/.*\.html$/, sphinxExtras),
  html('science', 'maxima-doc', /^usr\/share\/doc\/maxima-doc\/html\/maxima_\d+\.html$/),
  html('science', 'r-doc-html', /^usr\/share\/R\/doc\/manual\/.*\.html$/),
  html('web', 'apache2-doc', /^usr\/share\/doc\/apache2-doc\/manual\/en\/.*\.html$/),
  html('web', 'php-doc', /^usr\/share\/doc\/php-doc\/html\/.*\.html$/, /\/(indexes\.|index\.|doc\.changelog)/),
  html('web', 'nodejs-doc', /^usr\/share\/doc\/nodejs\/api\/.*\.html$/, /\/all\.html$/),
  html('web', 'python-django-doc', /^usr\/share\/doc\/python-django-doc\/html\/.*\.html$/, sphinxExtras),
  html('databases', 'postgresql-doc-*', /^usr\/share\/doc\/postgresql-doc-\d+\/html\/.*\.html$/, /\/bookindex\.html$/),
  html('databases', 'sqlite3-doc', /^usr\/share\/doc\/sqlite3\/.*\.html$/),
  html('databases', 'python-sqlalchemy-doc', /^usr\/share\/doc\/python-sqlalchemy-doc\/html\/.*\.html$/, sphinxExtras),
  html('cpp', 'cppreference-doc-en-html', /^usr\/share\/cppreference\/doc\/html\/en\/.*\.html$/),
  html(
    'declarative',
    'erlang-doc',
    /^usr\/share\/doc\/erlang-doc\/html\/.*\.html$/,
    /\/(search|404|api-reference)\.html$/,
  ),
  html(
    'declarative',
    'racket-doc',
    /^usr\/share\/doc\/racket\/.*\.html$/,
    /\/doc-index[^/]*\.html$|\/(search|local-redirect|release)\//,
  ),
  html('declarative', 'swi-prolog-doc', /^usr\/share\/swi-prolog\/doc\/.*\.html$/, /\/(DocIndex|Contents)\.html$/),
  { package: 'git-doc', files: /^usr\/share\/doc\/git-doc\/.*\.(txt|adoc)$/, markup: 'text', domain: 'git' },
  html('debian', 'debian-handbook', /^usr\/share\/doc\/debian-handbook\/html\/en-US\/.*\.html$/),
  html(
    'debian',
    'debian-policy',
    /^usr\/share\/doc\/debian-policy\/.*\.html(\.gz)?$/,
    /\/policy-1\.html|\/(genindex|search)\.html/,
  ),
  html('debian', 'debian-reference-en', /^usr\/share\/doc\/debian-reference-common\/docs\/.*\.en\.html$/),
  html('debian', 'developers-reference', /^usr\/share\/.*developers-reference\/.*\.html$/),
  {
    package: 'vim-runtime',
    files: /^usr\/share\/vim\/vim\d+\/doc\/.*\.txt$/,
    except: /\/(version\d|todo|tags)/,
    markup: 'text',
    domain: 'vim',
  },
  html('applications', 'libreoffice-help-en-us', /^usr\/share\/libreoffice\/help\/en-US\/text\/.*\.html$/),
  html('applications', 'gimp-help-en', /^usr\/share\/gimp\/[\d.]+\/help\/en\/.*\.html$/),
  {
    package: 'dict-gcide',
    files: /^usr\/share\/dictd\/gcide\.dict\.dz$/,
    markup: 'dictionary',
    domain: 'dictionaries',
    share: 0.3,
  },
  {
    package: 'dict-foldoc',
    files: /^usr\/share\/dictd\/foldoc\.dict\.dz$/,
    markup: 'dictionary',
    domain: 'dictionaries',
  },
  {
    package: 'dict-jargon',
    files: /^usr\/share\/dictd\/jargon\.dict\.dz$/,
    markup: 'dictionary',
    domain: 'dictionaries',
  },
]

const code = (domain: string, folders: readonly string[], more: Partial<Part> = {}): Part =>
  linux(domain, new RegExp(`^(?:${folders.join('|')})/.*\\.[ch]$`), folders, { isCode: true, ...more })

const kernel: readonly Part[] = [
  code('core', ['kernel', 'mm', 'lib', 'init', 'ipc', 'io_uring', 'block', 'virt', 'security', 'crypto', 'certs']),
  code('fs', ['fs']),
  code('net', ['net']),
  code('include', ['include'], { except: /^include\/dt-bindings\// }),
  code('arch', ['arch/x86', 'arch/arm64', 'arch/riscv']),
  // The headers of AMD's GPUs, which are tables of registers, are half of the text of all drivers.
  code('drivers', ['drivers'], { except: /^drivers\/gpu\/drm\/amd\/include\//, share: 0.05 }),
]

/** Packages of translated manual pages, by language. Packages ending in `-dev` have the sections 2 and 3. */
const manualPages: Readonly<Record<string, readonly string[]>> = {
  de: ['manpages-de', 'manpages-de-dev'],
  fr: ['manpages-fr', 'manpages-fr-dev'],
  ja: ['manpages-ja', 'manpages-ja-dev'],
  zh: ['manpages-zh'],
  ru: ['manpages-ru', 'manpages-ru-dev'],
  pl: ['manpages-pl', 'manpages-pl-dev'],
  ro: ['manpages-ro', 'manpages-ro-dev'],
  es: ['manpages-es', 'manpages-es-dev'],
  it: ['manpages-it', 'manpages-it-dev'],
  'pt-br': ['manpages-pt-br', 'manpages-pt-br-dev'],
  tr: ['manpages-tr'],
  uk: ['manpages-uk', 'manpages-uk-dev'],
  nl: ['manpages-nl'],
  sv: ['manpages-sv'],
  cs: ['manpages-cs'],
  hu: ['manpages-hu'],
  da: ['manpages-da'],
  ko: ['manpages-ko'],
  vi: ['manpages-vi'],
}

/** Folders of the Debian handbook, by language. */
const handbook: Readonly<Record<string, string>> = {
  en: 'en-US',
  de: 'de-DE',
  fr: 'fr-FR',
  ja: 'ja-JP',
  zh: 'zh-CN',
  ru: 'ru-RU',
  pl: 'pl-PL',
  es: 'es-ES',
  it: 'it-IT',
  'pt-br': 'pt-BR',
  nl: 'nl-NL',
  sv: 'sv-SE',
  vi: 'vi-VN',
  id: 'id-ID',
  ar: 'ar-MA',
  fa: 'fa-IR',
  nb: 'nb-NO',
  ko: 'ko-KR',
  tr: 'tr-TR',
  cs: 'cs-CZ',
  el: 'el-GR',
  ca: 'ca-ES',
}

// English comes first, so that text that a translation leaves in English is left out as a copy.
const languages: readonly Part[] = [...new Set([...Object.keys(handbook), ...Object.keys(manualPages)])].flatMap(
  (language) => [
    ...(handbook[language] === undefined
      ? []
      : [
          html(
            language,
            'debian-handbook',
            new RegExp(`^usr/share/doc/debian-handbook/html/${handbook[language]}/.*\\.html$`),
          ),
        ]),
    ...(language === 'en' ? ['manpages', 'manpages-dev'] : (manualPages[language] ?? [])).map((name) =>
      manPart(language, name),
    ),
  ],
)

/** Parts that take a share of the documents of a recipe, into a folder of their own. */
const shareOf = (name: string, parts: readonly Part[], share: number): Part[] =>
  parts.map((part) => ({ ...part, domain: `${name}/${part.domain}`, share: (part.share ?? 1) * share }))

export const recipes: readonly Recipe[] = [
  { name: 'manuals', version: VERSION, about: 'documentation in English, prose and code', parts: manuals },
  { name: 'kernel', version: VERSION, about: 'C of the Linux kernel: its core, and 5 % of its drivers', parts: kernel },
  { name: 'languages', version: VERSION, about: 'manual pages and a handbook in many languages', parts: languages },
  {
    name: 'mixed',
    version: VERSION,
    about: 'documents of manuals (40 %), kernel (25 %) and languages (60 %)',
    parts: [
      ...shareOf('manuals', manuals, 0.4),
      ...shareOf('kernel', kernel, 0.25),
      ...shareOf('languages', languages, 0.6),
    ],
  },
]
