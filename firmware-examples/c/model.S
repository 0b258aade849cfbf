/* The models in flash, at a word's alignment (BITSBACK_MODEL_ALIGNMENT) or better.
   The build says which: -DMODEL='"path/to/model.bbk"', with a margin -DUNSURE='"…"', with a sentinel
   -DWATCHED='"…"'. */
    .section .rodata.model, "a"
    .balign 16
    .global model, model_end
model:
    .incbin MODEL
model_end:
    .balign 16
    .global unsure, unsure_end
unsure:
    .incbin UNSURE
unsure_end:
    .balign 16
    .global watched, watched_end
watched:
    .incbin WATCHED
watched_end:
    .balign 4

    .section .note.GNU-stack, "", %progbits
