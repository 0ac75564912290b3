"""The model being trained: a causal language model with adapters or thawed layers, and its loss."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.functional import cross_entropy

from personatune.data.render import Rendered
from personatune.errors import RecipeError, RunError
from personatune.models.device import PAD_TO, pad_to
from personatune.training.batches import width
from personatune.training.decoder import decoder_of
from personatune.training.layers import pick
from personatune.training.loss import OutputLayerLoss, TrainedRows
from personatune.training.processes import here
from personatune.training.recipe import Recipe

TRAINABLE_FILE = "trainable.safetensors"


class Trainee(nn.Module):
    """A causal model whose forward pass is the summed loss on labelled tokens.

    `rows` are embedding rows of turn tokens to be trained, (token ids, fp32 values), or none. The output
    layer, tied or not, is frozen but for these. Without a recipe nothing is trained: the base as it is.
    """

    def __init__(
        self, causal: Any, recipe: Recipe | None = None, rows: tuple[Sequence[int], Tensor] | None = None
    ) -> None:
        super().__init__()
        self._embed = [causal.get_input_embeddings()]  # in lists, so that they are not registered twice
        self._head = [causal.get_output_embeddings()]
        self._plain_head = _head_is_plain(causal)
        self._output_loss = OutputLayerLoss(self._head[0].weight)
        # Thawed layers are kept in fp32, or small steps would be rounded away, and computed in bf16.
        self.mixed = recipe is not None and recipe.method == "full" and self._head[0].weight.dtype == torch.bfloat16
        tied = self._head[0].weight is self._embed[0].weight
        if rows is not None and not tied:
            rows = None  # an untied output layer has rows of its own, which full fine-tuning may learn
        self._no_split_modules = getattr(causal, "_no_split_modules", None)  # the layers that FSDP divides one by one
        self._rows_off = False
        self.row_ids = torch.tensor(rows[0] if rows else [], dtype=torch.int64)
        self.causal = [causal]
        if recipe is None:
            self.model = causal
        elif recipe.has_adapters:
            self.model = _with_adapters(causal, recipe, rows)
        else:
            self.model = _thawed(causal)
            if rows is not None:
                self.rows = nn.Parameter(rows[1].clone())
        thawed = recipe is not None and recipe.method == "full"
        # Divided weights come together as a layer of transformers is called, so they must be.
        called = thawed or here().sharded
        self.decoder = None if called or not self._plain_head else decoder_of(causal)
        """Computes the layers in transformers' place, where it knows the model."""
        self.checkpointing = recipe is not None and recipe.checkpointing
        """Whether layers keep what goes into them alone, and compute the rest again."""
        if self.checkpointing:
            if self.decoder is not None:
                self.decoder.checkpointing = True
            elif hasattr(causal, "activation_checkpointing_enable"):
                causal.activation_checkpointing_enable({"use_reentrant": False})
            else:  # what transformers 5.20 calls it
                causal.gradient_checkpointing_enable({"use_reentrant": False})

    @property
    def trained_rows(self) -> Tensor | None:
        """The turn tokens' rows, (r, hidden) in fp32."""
        if not len(self.row_ids) or self._rows_off:
            return None
        if hasattr(self, "rows"):
            own: Tensor = self.rows
            return own
        (delta,) = (p for n, p in self.model.named_parameters() if "trainable_tokens_delta" in n)
        adapters: Tensor = delta
        return adapters

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """The loss in nats, summed over labelled tokens. All three arguments have the shape (rows, length)."""
        return self._each(input_ids, attention_mask, labels).sum()

    def log_probs(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """How likely each labelled token is where it stands, in nats: (rows, length - 1), zero for all others.

        The arguments are those of `forward`; the first token has none before it, hence one column less.
        """
        labelled = labels[:, 1:] != -100
        each = self._each(input_ids, attention_mask, labels)
        return each.new_zeros(labelled.shape).masked_scatter(labelled, -each)

    def _each(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        """The loss of each labelled token, row after row, fp32 of shape (n,)."""
        with torch.autocast(input_ids.device.type, torch.bfloat16, enabled=self.mixed):
            inputs = self._embed_tokens(input_ids)
            goal = labels[:, 1:]
            mask = torch.zeros_like(labels, dtype=torch.bool)
            mask[:, :-1] = goal != -100
            target = goal[goal != -100]
            causal = self.causal[0]
            rows = self.trained_rows
            if not self._plain_head:
                logits = causal(inputs_embeds=inputs, attention_mask=attention_mask, use_cache=False).logits
                return cross_entropy(logits[mask].float(), target, reduction="none")
            if self.decoder is not None:
                hidden = self.decoder(inputs, attention_mask.bool())
            else:
                body = getattr(causal, causal.base_model_prefix)
                output = body(inputs_embeds=inputs, attention_mask=attention_mask, use_cache=False)
                hidden = output.last_hidden_state.flatten(0, 1)
            speaking = pick(hidden, mask.flatten().nonzero()[:, 0])
            trained = TrainedRows(self.row_ids.to(target.device), rows) if rows is not None else None
            self._output_loss.weight = self._head[0].weight  # of divided weights it is another while it is whole
            return self._output_loss.each(speaking, target, trained)

    def _embed_tokens(self, ids: Tensor) -> Tensor:
        embed = self._embed[0]
        inputs: Tensor = embed(ids)
        rows = self.trained_rows
        if rows is None:
            return inputs
        # Gemma scales its embedding; looking the original row up shows by how much, whatever the family.
        scale = getattr(embed, "embed_scale", 1.0)
        for index, token in enumerate(self.row_ids.tolist()):
            inputs = torch.where((ids == token)[..., None], (rows[index] * scale).to(inputs.dtype), inputs)
        return inputs

    @torch.no_grad()
    def nll(self, rendered: Sequence[Rendered], batch_size: int = 8, *, untrained: bool = False) -> float:
        """Nats per labelled token of some conversations, computed without touching the chance of training.

        Several processes share the batches, and all know the sum. `untrained` is for fresh adapters, which change
        nothing yet: the turn tokens' rows, which begin with a sensible start, are left out too.
        """
        was_training, self._rows_off = self.training, untrained
        self.eval()
        device = self._head[0].weight.device
        total, count = 0.0, 0.0
        ordered = sorted(rendered, key=lambda r: len(r.token_ids))
        starts = range(0, len(ordered), batch_size)
        processes = here()
        for turn in range(0, len(starts), processes.count):
            mine = turn + processes.rank
            start = starts[mine] if mine < len(starts) else 0  # divided weights want every process, each time
            rows = collate(ordered[start : start + batch_size], pad_to(device.type))
            batch = {k: v.to(device) for k, v in rows.items()}
            nats = float(self(**batch))
            if mine < len(starts):
                total += nats
                count += int((batch["labels"] != -100).sum())
        self.train(was_training)
        self._rows_off = False
        total, count = processes.add([total, count])
        return total / max(1.0, count)

    def count(self) -> tuple[int, int]:
        """Parameters in all, and those trained."""
        parameters = list(self.parameters())
        return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)

    def save_trainable(self, folder: Path) -> None:
        """Write the trained tensors in full precision: what a checkpoint needs. All processes ask, the first writes."""
        trained = {n: _whole(p.detach()).cpu().contiguous() for n, p in self.named_parameters() if p.requires_grad}
        if here().first:
            folder.mkdir(parents=True, exist_ok=True)
            save_file(trained, folder / TRAINABLE_FILE)

    def load_trainable(self, folder: Path) -> None:
        """Read what `save_trainable` wrote."""
        saved = load_file(folder / TRAINABLE_FILE)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(_divided_as(parameter, saved[name]))

    def start_from(self, model_folder: Path) -> None:
        """Go on from the adapter that `save_model` wrote. Raises `RunError` when it has another shape."""
        from peft import set_peft_model_state_dict

        path = model_folder / "adapter_model.safetensors"
        try:
            saved = load_file(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result: Any = set_peft_model_state_dict(self.model, saved)
            wanted = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
            if result.unexpected_keys or wanted & set(result.missing_keys):
                raise ValueError("other layers have adapters")
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise RunError(
                f"the adapter cannot be gone on with: {str(error).splitlines()[0][:200]}",
                where=path,
                fix="train without --from",
            ) from error

    @torch.no_grad()
    def save_model(self, folder: Path, dtype: torch.dtype) -> None:
        """Write the result as others read it: a PEFT adapter, or whole weights in `dtype`."""
        if here().sharded:
            self._save_divided(folder, dtype)
        elif not here().first:
            return
        elif hasattr(self.model, "peft_config"):
            self.model.save_pretrained(folder, save_embedding_layers=False)  # a trimmed one is cut from the base again
        else:
            if hasattr(self, "rows"):
                self._embed[0].weight[self.row_ids] = self.rows.to(self._embed[0].weight.dtype)
            self.model.to(dtype).save_pretrained(folder)

    def _save_divided(self, folder: Path, dtype: torch.dtype) -> None:
        """Weights of which every process has a part, put together one at a time in the first one's memory."""
        if hasattr(self.model, "peft_config"):
            parts = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
            adapters = {name: _whole(part.detach()).cpu() for name, part in parts}
            if here().first:
                self.model.save_pretrained(folder, save_embedding_layers=False, state_dict=adapters)
            return
        rows = _whole(self.rows.detach()) if hasattr(self, "rows") else None
        tied = self._embed[0].weight
        state: dict[str, Tensor] = {}
        for name, part in self.model.state_dict(keep_vars=True).items():
            whole = _whole(part.detach())
            if here().first:
                state[name] = whole.to("cpu", dtype, copy=True)
                if rows is not None and part is tied:
                    state[name][self.row_ids] = rows.to("cpu", dtype)
        if here().first:
            self.model.save_pretrained(folder, state_dict=state)


def _whole(tensor: Tensor) -> Tensor:
    """A tensor as it is, or the whole of one that is divided among processes, who must all ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _divided_as(like: Tensor, whole: Tensor) -> Tensor:
    """`whole` divided among processes as `like` is, if that is."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)


def collate(rows: Sequence[Rendered], multiple: int = PAD_TO) -> dict[str, Tensor]:
    """Pad on the right to the batch's width: ids, attention mask and labels of shape (rows, width)."""
    length = width((len(row.token_ids) for row in rows), multiple)
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    attention = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.token_ids)
        ids[index, : len(tokens)] = tokens
        attention[index, : len(tokens)] = 1
        mask = torch.tensor(row.labelled)
        labels[index, : len(tokens)][mask] = tokens[mask]
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def _head_is_plain(causal: Any) -> bool:
    """Whether logits are hidden @ weight.T and nothing more; Gemma 2, Cohere and Granite bend theirs."""
    config = causal.config
    bent = any(
        getattr(config, key, None) not in (None, 0, 1)
        for key in ("final_logit_softcapping", "logit_scale", "logits_scaling")
    )
    return not bent and getattr(causal.get_output_embeddings(), "bias", None) is None


def _with_adapters(causal: Any, recipe: Recipe, rows: tuple[Sequence[int], Tensor] | None) -> Any:
    from peft import LoraConfig, get_peft_model

    embedding_name = next(n for n, m in causal.named_modules() if m is causal.get_input_embeddings())
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        # The rows travel inside the adapter, so that every PEFT reader stops where we stop.
        trainable_token_indices={embedding_name.rsplit(".", 1)[-1]: list(rows[0])} if rows else None,
    )
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks transformers by a name that is going out of use: nothing that a user could mend.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            model = get_peft_model(causal, config)
    except ValueError as error:
        raise RecipeError(f"adapters cannot be attached to this model: {error}", fix="--method full") from error
    if rows:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "trainable_tokens_delta" in name:
                    parameter.copy_(rows[1])
    return model


def _thawed(causal: Any) -> Any:
    """Every layer trained in fp32, the embedding (and the output layer) frozen as it is."""
    frozen = {id(causal.get_input_embeddings().weight), id(causal.get_output_embeddings().weight)}
    for parameter in causal.parameters():
        if id(parameter) in frozen:
            parameter.requires_grad_(False)
        else:
            parameter.data = parameter.data.to(torch.float32, copy=True)  # not a part of joined layers any more
    return causal
