# Makes the vocabulary `spaces` and writes what transformers and tokenizers make of some chats into `recorded.json` of
# each folder: the text of a prompt, and its numbers. Run here, with both libraries installed.
import json
import os
import shutil

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

specials = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']


def train_spaces():
    """Spaces as "▁", one before each piece of text, and bytes for what the vocabulary lacks."""
    words = open('README.md').read().split()
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token='<unk>'))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0),
    ])
    bytes_ = ['<0x%02X>' % byte for byte in range(256)]
    lines = [' '.join(words[at:at + 9]) for at in range(len(words))]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=520, special_tokens=['<unk>', *bytes_]))
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in specials])
    os.makedirs('spaces', exist_ok=True)
    known = json.loads(tokenizer.to_str())
    # Real ones have bytes in the vocabulary alone.
    known['added_tokens'] = [token for token in known['added_tokens'] if not token['content'].startswith('<0x')]
    with open('spaces/tokenizer.json', 'w') as file:
        json.dump(known, file, ensure_ascii=False)
    for name in ['tokenizer_config.json', 'chat_template.jinja']:
        shutil.copy(f'chatml/{name}', f'spaces/{name}')


def says(role, content, **more):
    return {'role': role, 'content': content, **more}


weather = {
    'type': 'function',
    'function': {
        'name': 'weather',
        'description': 'Tells the weather, naïvely.',
        'parameters': {'type': 'object', 'properties': {'city': {'type': 'string'}, 'days': {'enum': [1, 2.5]}}},
    },
}
clock = {'type': 'function', 'function': {'name': 'clock', 'strict': True}}
call = {'id': 'call_1', 'type': 'function', 'function': {'name': 'weather', 'arguments': '{"city": "Kiel", "days": 1}'}}
odd = 'Who was it? \n\n  Zoë 🙂, 12.5 %\t你好 <|im_end|> \u00a0e\u0301 ﬁ'
bodies = [
    {'messages': [says('user', 'Hello')]},
    {'messages': [says('system', 'Be  brief.\n'), says('user', odd)]},
    {'messages': [says('system', 'Be brief.'), says('user', 'One?'), says('assistant', 'Two. '), says('user', ' ')]},
    {'messages': [says('user', [{'type': 'text', 'text': 'one'}, {'type': 'text', 'text': 'two'}])]},
    {'messages': [says('user', 'Weather?')], 'tools': [weather, clock]},
    {'messages': [says('user', 'Weather?')], 'tools': [weather, clock], 'tool_choice': 'none'},
    {
        'messages': [
            says('system', 'Use tools.'), says('user', 'Weather?', name='ann'),
            says('assistant', None, tool_calls=[call], reasoning_content='Ask.'),
            says('tool', '{"sky": "grey"}', tool_call_id='call_1'),
        ],
        'tools': [weather],
    },
    {'messages': [says('user', 'Think.')], 'chat_template_kwargs': {'enable_thinking': False}},
    {'messages': [says('user', 'the of and to in is you that it he was ' * 60)]},
]


def given(body):
    """What SGLang gives to the template of a request (`serving_chat.py`)."""
    messages = []
    for message in body['messages']:
        message = {key: value for key, value in message.items() if value is not None}
        if message['role'] == 'user':
            message.pop('name', None)
        content = message.get('content', '')
        message['content'] = content if isinstance(content, str) else ' '.join(part['text'] for part in content)
        for called in message.get('tool_calls', []):
            called['function']['arguments'] = json.loads(called['function']['arguments'])
        messages.append(message)
    tools = None
    if body.get('tools') and body.get('tool_choice') != 'none':
        tools = [{'type': 'function', 'function': {
            'description': tool['function'].get('description'),
            'name': tool['function']['name'],
            'parameters': tool['function'].get('parameters'),
            'strict': tool['function'].get('strict', False),
        }} for tool in body['tools']]
    return {'conversation': messages, 'tools': tools, **body.get('chat_template_kwargs', {})}


train_spaces()
for folder in ['chatml', 'spaces']:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    recorded = []
    for body in bodies:
        known = given(json.loads(json.dumps(body)))
        text = tokenizer.apply_chat_template(**known, tokenize=False, add_generation_prompt=True)
        recorded.append({'body': body, 'text': text, 'ids': tokenizer.encode(text, add_special_tokens=False)})
    with open(f'{folder}/recorded.json', 'w') as file:
        file.write('[\n' + ',\n'.join(json.dumps(one, ensure_ascii=False) for one in recorded) + '\n]\n')
