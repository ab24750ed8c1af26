"""What people do with a mirror, a cell a line: scripts that run in a client's own Python and print one object.

The value of a cell is what came of it, or the class and the sentence of the error that ended it. What differs from run to
run by its nature - decisions' numbers, folders - is made alike, so that two runs can be compared as they are.
"""

from __future__ import annotations

_HEAD = """
import hashlib, json, os, re, sys, traceback
HOME = os.getcwd()
def sha256(path):
    return hashlib.sha256(open(path, 'rb').read()).hexdigest()
def tree(folder):
    paths = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return {os.path.relpath(path, folder): sha256(path) for path in sorted(paths) if '/.cache/' not in path}
def alike(text):
    text = re.sub(r'01[0-9A-HJKMNP-TV-Z]{24}', 'DECISION', ' '.join(str(text).split()).replace(HOME, 'HOME'))
    # What is offered instead is what is at hand, which differs.
    return re.sub(r'Request ID: [^)]*|Root=[-0-9a-f;]*', 'REQUEST', re.sub(r' Permitted instead: .*?\\.(?= Decision|$)', '', text))
def run(cells):
    said = {}
    for name, cell in cells.items():
        try:
            said[name] = cell()
        except Exception as error:
            said[name] = [type(error).__name__, alike(error)]
            if '--trace' in sys.argv:
                traceback.print_exc()
    print(json.dumps(said, default=str))
"""

HUB = _HEAD + """
import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, hf_hub_url, get_hf_file_metadata, scan_cache_dir, snapshot_download, try_to_load_from_cache
api, fs, BERT, DATA = HfApi(), HfFileSystem(), 'acme/tiny-bert', 'acme/reviews'
info = api.model_info(BERT, files_metadata=True)
def ranged():
    with fs.open(BERT + '/model.safetensors', block_size=65536) as file:
        file.seek(200_000)
        return file.read(70_000).hex()[:200]
def get(*words, **more):
    return sha256(hf_hub_download(*words, **more))
def by_url():
    found = get_hf_file_metadata(hf_hub_url(BERT, 'model.safetensors'))
    return [found.etag, found.commit_hash, found.size, found.location == hf_hub_url(BERT, 'model.safetensors')]
def files(found):
    return [[one.path, one.size, one.blob_id, one.lfs and one.lfs.sha256] for one in found if hasattr(one, 'size')]
run({
    'snapshot': lambda: tree(snapshot_download(BERT)),
    'snapshot allow': lambda: tree(snapshot_download(BERT, allow_patterns=['*.json', 'vocab*'], cache_dir='allow')),
    'snapshot ignore': lambda: tree(snapshot_download(BERT, ignore_patterns='*.safetensors', local_dir='ignore')),
    'snapshot data': lambda: tree(snapshot_download(DATA, repo_type='dataset')),
    'snapshot space': lambda: tree(snapshot_download('acme/demo', repo_type='space')),
    'snapshot odd names': lambda: tree(snapshot_download('acme/odd-names', cache_dir='odd')),
    'snapshot again, from the cache': lambda: sorted(tree(snapshot_download(BERT, local_files_only=True))),
    'by branch': lambda: get(BERT, 'config.json', revision='main'),
    'by commit': lambda: get(BERT, 'config.json', revision=info.sha),
    'by tag': lambda: get(BERT, 'config.json', revision='v1.0'),
    'by another branch': lambda: get(BERT, 'notes.txt', revision='feature/x'),
    'by pull request': lambda: get(BERT, 'proposal.txt', revision='refs/pr/1'),
    'converted': lambda: get(DATA, 'default/train/0000.parquet', repo_type='dataset', revision='refs/convert/parquet'),
    'into a folder': lambda: get(BERT, 'model.safetensors', local_dir='local'),
    'forced again': lambda: get(BERT, 'model.safetensors', local_dir='local', force_download=True),
    'old name': lambda: get('acme/old-name', 'config.json'),
    'old name, information': lambda: api.model_info('acme/old-name').id,
    'one segment': lambda: get('tinybert', 'vocab.txt'),
    'one segment that moved': lambda: get('solid2', 'config.json'),
    'other letter case': lambda: get('acme-labs/camelcase', 'config.json'),
    'a file that is not there': lambda: get(BERT, 'nope.json'),
    'a revision that is not there': lambda: get(BERT, 'config.json', revision='v9'),
    'its url': by_url,
    'fs read': ranged,
    'fs glob': lambda: sorted(fs.glob('datasets/acme/reviews/**/*.csv')),
    'fs ls': lambda: sorted(fs.ls('datasets/acme/reviews/data', detail=False)),
    'fs find': lambda: sorted(fs.find(BERT)),
    'fs info': lambda: [fs.info(BERT + '/config.json')[key] for key in ('name', 'size', 'type', 'blob_id')],
    'fs info with its commit': lambda: fs.info(BERT + '/config.json', expand_info=True)['last_commit'].title,
    'fs revision': lambda: fs.read_text(BERT + '@v1.0/config.json'),
    'fs exists': lambda: [fs.exists(BERT), fs.exists(BERT + '/nope'), fs.isdir('datasets/acme/reviews/data')],
    'fs walk': lambda: [[where, sorted(folders), sorted(names)] for where, folders, names in fs.walk('datasets/acme/reviews')],
    'files': lambda: sorted(api.list_repo_files(BERT)),
    'files of data': lambda: sorted(api.list_repo_files(DATA, repo_type='dataset')),
    'tree': lambda: files(api.list_repo_tree(BERT)),
    'tree, deep': lambda: files(api.list_repo_tree('acme/odd-names', recursive=True)),
    'tree, expanded': lambda: [[one.path, one.last_commit.title] for one in api.list_repo_tree(BERT, expand=True)],
    'tree of a folder': lambda: files(api.list_repo_tree(DATA, 'data', repo_type='dataset')),
    'tree of a tag': lambda: files(api.list_repo_tree(BERT, revision='v1.0')),
    'paths': lambda: files(api.get_paths_info(BERT, ['config.json', 'model.safetensors', 'absent'])),
    'paths, expanded': lambda: [one.last_commit.oid for one in api.get_paths_info(BERT, 'config.json', expand=True)],
    'refs': lambda: [[one.name, one.ref, one.target_commit] for one in (lambda all: [*all.branches, *all.tags, *all.converts])(api.list_repo_refs(BERT))],
    'refs with pull requests': lambda: [one.ref for one in api.list_repo_refs(BERT, include_pull_requests=True).pull_requests],
    'refs of data': lambda: [one.ref for one in api.list_repo_refs(DATA, repo_type='dataset').converts],
    'commits': lambda: [[one.commit_id, one.title] for one in api.list_repo_commits(BERT)],
    'commits of data': lambda: [one.title for one in api.list_repo_commits(DATA, repo_type='dataset')],
    'commits by commit': lambda: [one.title for one in api.list_repo_commits(BERT, revision=info.sha)],
    'info': lambda: [info.id, info.sha, info.author, info.gated, info.private, info.tags, info.pipeline_tag, info.library_name, info.downloads, info.likes,
                     [[one.rfilename, one.size, one.blob_id, one.lfs and one.lfs.sha256] for one in info.siblings]],
    'info, plain': lambda: [[one.rfilename, one.size] for one in api.model_info(BERT).siblings],
    'info of a tag': lambda: api.model_info(BERT, revision='v1.0').sha,
    'info, some of it': lambda: {key: value for key, value in vars(api.model_info(BERT, expand=['downloads', 'likes'])).items() if value is not None},
    'info of data': lambda: [(one.id, one.sha, one.tags, [file.rfilename for file in one.siblings]) for one in [api.dataset_info(DATA, files_metadata=True)]],
    'info of a space': lambda: [(one.id, one.sha, one.sdk) for one in [api.space_info('acme/demo')]],
    'info of any': lambda: [api.repo_info(BERT).sha, api.repo_info(DATA, repo_type='dataset').sha],
    'card': lambda: huggingface_hub.ModelCard.load(BERT).data.to_dict(),
    'safetensors': lambda: {name: list(one.shape) for name, one in api.parse_safetensors_file_metadata(BERT, 'model.safetensors').tensors.items()},
    'safetensors of all': lambda: api.get_safetensors_metadata(BERT).parameter_count,
    'exists': lambda: [api.file_exists(BERT, 'config.json'), api.file_exists(BERT, 'nope.json'), api.revision_exists(BERT, 'v1.0'), api.repo_exists(BERT)],
    'access': lambda: api.auth_check(BERT),
    'a refused file': lambda: get(BERT, 'pytorch_model.bin'),
    'a refused repository': lambda: get('umbrella/orphan', 'config.json'),
    'a refused repository, whole': lambda: snapshot_download('umbrella/orphan'),
    'a refused repository, information': lambda: api.model_info('umbrella/orphan').id,
    'a refused repository, files': lambda: api.list_repo_files('umbrella/orphan'),
    'refused by lineage': lambda: get('quantbarn/solid-7b-merge-GGUF', 'config.json'),
    'who': lambda: api.whoami()['name'],
})
"""

LIBRARIES = _HEAD + """
from datasets import get_dataset_config_names, load_dataset
from transformers import AutoConfig, AutoTokenizer
BERT, DATA = 'acme/tiny-bert', 'acme/reviews'
run({
    'csv': lambda: [(one.num_rows, one.column_names, one[0]) for one in [load_dataset(DATA, data_files='data/train.csv', split='train')]],
    'streaming': lambda: [row for row, _ in zip(load_dataset(DATA, data_files='data/*.csv', split='train', streaming=True), range(3))],
    'by its card': lambda: load_dataset(DATA).num_rows,
    'configurations': lambda: get_dataset_config_names(DATA),
    'parquet': lambda: load_dataset('acme/tables', split='train').to_dict(),
    'parquet, streaming': lambda: list(load_dataset('acme/tables', split='train', streaming=True)),
    'no such data': lambda: load_dataset(DATA, data_files='data/none.csv'),
    'configuration': lambda: AutoConfig.from_pretrained(BERT).to_dict(),
    'configuration of a tag': lambda: AutoConfig.from_pretrained(BERT, revision='v1.0').vocab_size,
    'tokenizer': lambda: AutoTokenizer.from_pretrained(BERT)('word1 word2 abc')['input_ids'],
    'refused': lambda: AutoConfig.from_pretrained('umbrella/orphan').vocab_size,
})
"""

#: What a gate makes of whoever asks: where nobody can be asked, it says so in words of its own.
GATED = _HEAD + """
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
api, GATED, SECRET = HfApi(), 'acme/gated-auto', 'acme/secret'
run({
    'file': lambda: sha256(hf_hub_download(GATED, 'config.json')),
    'snapshot': lambda: tree(snapshot_download(GATED, ignore_patterns=['*.bin', 'notes.txt'])),
    'private': lambda: sha256(hf_hub_download(SECRET, 'model.safetensors')),
    'private, files': lambda: sorted(api.list_repo_files(SECRET)),
    'information': lambda: [api.model_info(GATED).gated, api.model_info(GATED).sha],
    'access': lambda: api.auth_check(GATED),
})
"""
